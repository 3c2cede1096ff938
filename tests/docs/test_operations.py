"""Files of the pages on operation: alert rules, dashboard, systemd unit, container image, and programs."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time  # noqa: TID251  another process
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from eas_tw import ClientConfig, PredictClient
from eas_tw.telemetry.prometheus import PrometheusMetrics
from tests.docs.pages import EXAMPLES, ROOT
from tests.docs.test_examples import run
from tests.needs import program
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

MONITORING, DEPLOY = EXAMPLES / "monitoring", EXAMPLES / "deploy"
METRIC = re.compile(r"\b(?:eas_client|http_client)_\w+")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "ranker=3", "--service", "echo=3", "--service", "mnist=2")
    with Served(tmp_path_factory.mktemp("operations"), *services, "--token", "t0ken") as running:
        yield running


@pytest.fixture(scope="module")
def metrics() -> set[str]:
    """Return the names under which Prometheus stores our metrics."""
    registry = CollectorRegistry()
    PrometheusMetrics(registry).watch(PredictClient("x", "echo", reactor=Clock()))
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {f"{metric.name}{suffix}" for metric in registry.collect() for suffix in suffixes[metric.type]}


def test_every_metric_of_the_rules_exists(metrics: set[str]) -> None:
    for name in ("alerts.yml", "alerts_test.yml"):
        used = set(METRIC.findall((MONITORING / name).read_text("utf-8")))
        assert used <= metrics
        assert len(used) >= 9


def test_every_metric_is_on_the_dashboard_and_no_other(metrics: set[str]) -> None:
    used = {re.sub(r"_(bucket|count|sum)$", "", name) for query in queries() for name in METRIC.findall(query)}
    assert used == {re.sub(r"_(bucket|count|sum)$", "", name) for name in metrics}


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    return found


def test_the_panels_of_the_dashboard_are_side_by_side() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])


def test_promtool_passes_the_tests_of_the_alert_rules() -> None:
    promtool = program("promtool")
    for command in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
        ended = subprocess.run([promtool, *command], cwd=MONITORING, capture_output=True, text=True, check=False)  # noqa: S603
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_is_on_the_page() -> None:
    names = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text("utf-8"))
    page = (ROOT / "docs" / "operations" / "alerts.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `(Eas\w+)` \|", page, re.MULTILINE)) == sorted(names)


@pytest.mark.parametrize(("sizes", "subset"), [(("5", "2"), "None"), (("1000", "50"), "20"), (("1000", "2"), "None")])
def test_the_profiles_are_settings(sizes: tuple[str, str], subset: str) -> None:
    ended = run("profiles.py", *sizes)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        f"SMALL_AND_FAST 0.5 {subset}",
        f"AROUND_200_MS 2.0 {subset}",
        f"LANGUAGE_MODEL 60.0 {subset}",
    ]


def test_a_token_is_rotated_between_two_calls(served: Served, tmp_path: Path) -> None:
    """The new token is wrong, so that calls fail with 401 only if the program has read the file again."""
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    command = [sys.executable, str(EXAMPLES / "rotated_token.py"), served.ready["url"], "ranker", str(token), "60"]
    with subprocess.Popen(  # noqa: S603
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[0]\n"
        token.write_text("renewed-t0ken\n")
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "401" in stderr
    assert "renewed-t0ken" not in stderr


def test_a_start_without_discovery_uses_the_list_on_the_disk(tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "ranker=2", "--token", "t0ken") as running:
        arguments = ("prepared_start.py", running.ready["url"], "ranker", str(tmp_path / "lists"))
        assert run(*arguments).stdout.splitlines() == ["[1]", "the list is from the disk: False"]
        running.admin("POST", "/v1/faults", {"type": "http_status", "target": {"discovery": True}})
        ended = run(*arguments)
        assert ended.stdout.splitlines() == ["[1]", "the list is from the disk: True"], ended.stderr


def test_the_health_check_is_200_with_an_instance_and_503_without(served: Served) -> None:
    for service, status in (("ranker", 200), ("there-is-none", 503)):
        with started("health.py", served.ready["url"], service, "tcp:0:interface=127.0.0.1") as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert answer(url, until=status)[service]["ready"] is (status == 200)


class started:  # noqa: N801  a context manager
    """Runs an example program, and sends it SIGTERM at the end of the block."""

    def __init__(self, name: str, *arguments: str) -> None:
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        variables = {**environment(), "EAS_TOKEN": "t0ken"}
        self._process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)  # noqa: S603

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE_S)


def answer(url: str, until: int) -> dict[str, Any]:
    """Send health checks, as a load balancer does, until the status is `until`. Return the body of that response."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:  # noqa: S310
                status, body = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        if status == until:
            found: dict[str, Any] = json.loads(body)
            return found
        assert time.monotonic() < ends, (status, body)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "scoring.service")
    return parser


def test_the_unit_and_the_image_run_the_same_command_and_wait_for_calls_in_flight() -> None:
    command = shlex.split(unit()["Service"]["ExecStart"])
    (last,) = re.findall(r"^CMD (\[.*\])", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert [Path(command[0]).name, *command[1:]] == json.loads(last)
    (drain,) = re.findall(r"drain_timeout_s=([\d.]+)", (EXAMPLES / "twisted_application.py").read_text("utf-8"))
    assert float(unit()["Service"]["TimeoutStopSec"]) >= max(float(drain), ClientConfig().drain_timeout_s) + 2


def test_the_command_of_the_unit_serves_and_ends_by_term(served: Served) -> None:
    _, *arguments = shlex.split(unit()["Service"]["ExecStart"])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variables = {
        **environment(),
        "EAS_ENDPOINT": served.ready["url"],
        "EAS_TOKEN": "t0ken",
        "LISTEN": f"tcp:{port}:interface=127.0.0.1",
    }
    process = subprocess.Popen(  # noqa: S603
        [str(Path(sys.executable).parent / "twistd"), *arguments],
        cwd=EXAMPLES,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    changed = 0
    for line in process.stdout:
        changed += "list of instances changed" in line
        if changed == 2:  # each of the two services has changed once
            break
    assert changed == 2
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/echo", data=b"[1]", timeout=PATIENCE_S) as response:
        assert response.read() == b"[1]"
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_S)
    # Twisted ends its process with the signal that stopped the reactor. systemd regards that as success.
    assert process.returncode in (0, -signal.SIGTERM), output
    assert "Server Shut Down." in output
    assert "Traceback" not in output
