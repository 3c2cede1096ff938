"""Settings that the command line and Scrapy share are defined in one table, which is complete."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import attrs
import pytest

from eas_tw import ENDPOINT_TYPE_DEFAULT, ClientConfig, ConfigError
from eas_tw.cli import settings
from eas_tw.outer_settings import SETTINGS, OuterSettings, number

GIVEN: dict[str, tuple[str, Any]] = {
    "endpoint": ("http://a.example", "http://a.example"),
    "endpoint_type": ("gateway", ENDPOINT_TYPE_DEFAULT),
    "service": ("ranker", "ranker"),
    "timeout_s": ("2.5", 2.5),
    "retry_times": ("4", 4),
    "trust_roots": ("roots.pem", "roots.pem"),
    "balancer": ("p2c", "p2c"),
}
"""A text for each setting, and the value that it is converted to."""
LEFT_TO_PROGRAMS = {
    "poll_interval_s", "poll_jitter", "discovery_timeout_s", "max_discovery_bytes", "discovery_path",
    "connect_timeout_s", "attempt_timeout_s", "hedge_after_s", "retry_on", "retry_budget_ratio",
    "retry_budget_min_per_s", "backoff_base_s", "backoff_max_s", "eject_after", "eject_base_s", "eject_max_s",
    "max_ejected_ratio", "hash_load_factor", "instance_filter", "subset_size", "max_in_flight_per_instance",
    "slow_start_s", "outlier_success_gap", "outlier_latency_ratio", "max_connections_per_instance", "idle_timeout_s",
    "max_waiting", "max_response_bytes", "max_head_bytes", "drain_timeout_s", "auth", "stream_idle_timeout_s",
    "stream_buffer_bytes", "queue_watch", "snapshot_path", "compress", "decompress", "seed",
}  # fmt: skip
"""Settings of a client whose defaults suit commands and crawls."""


def read(arguments: list[str], environment: dict[str, str]) -> Any:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    return settings.read(parser.parse_args(arguments), environment)


def test_every_setting_of_a_client_is_in_the_table_or_left_to_programs() -> None:
    given = OuterSettings(token="", **{key: value for key, (_, value) in GIVEN.items()})
    config, plain = given.config(), ClientConfig()
    names = {each.name for each in attrs.fields(ClientConfig)}
    assert {name for name in names if getattr(config, name) != getattr(plain, name)} == names - LEFT_TO_PROGRAMS
    assert names >= LEFT_TO_PROGRAMS


def test_every_setting_of_the_table_is_an_attribute() -> None:
    assert {each.name for each in attrs.fields(OuterSettings)} == {*SETTINGS, "token"} == {*GIVEN, "token"}


@pytest.mark.parametrize("place", ["flag", "environment", "profile"])
@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_is_read_from_every_place_of_the_command_line(key: str, place: str, tmp_path: Path) -> None:
    text, value = GIVEN[key]
    needed = {"EAS_ENDPOINT": "http://x.example", "EAS_SERVICE": "echo"}
    profile = tmp_path / "profiles.toml"
    environment = {name: given for name, given in needed.items() if name != f"EAS_{key.upper()}"}
    profile.write_text("[default]\n" + (f'{key} = "{text}"\n' if place == "profile" else ""))
    if place == "environment":
        environment[f"EAS_{key.upper()}"] = text
    arguments = ["--config", str(profile), *([f"--{key.replace('_', '-')}", text] if place == "flag" else [])]
    assert getattr(read(arguments, environment), key) == value


@pytest.mark.parametrize("value", [2.5, "2.5", True, -1, float("nan"), [], None])
def test_a_value_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^retry_times must be a whole number ≥ 0, got "):
        number(int, at_least=0)("retry_times", value)
