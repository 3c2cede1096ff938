"""Every setting of the client and every fault is drawn by the simulation, or listed with a reason."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from eas_tw import ClientConfig
from simulator.fault_kinds import MALFORMED, ON_DISCOVERY, ON_INSTANCES
from simulator.virtual.faults.catalog import KINDS, Scope
from simulator.virtual.nemesis import draw
from simulator.virtual.plan import PROFILES, RunPlan

SETTINGS_NOT_DRAWN = {
    "instance_filter": "it shortens a list before anything else sees it; tests/policy/test_filtering.py",
    "auth": "how a request is signed changes no decision; tests/test_outgoing.py",
    "backoff_base_s": "pauses of the default ceilings are checked; tests/policy/test_retry.py has others",
    "backoff_max_s": "pauses of the default ceilings are checked; tests/policy/test_retry.py has others",
    "compress": "codecs are C code, outside virtual time; tests/body/test_compression.py",
    "decompress": "codecs are C code, outside virtual time; tests/body/test_compression.py",
    "discovery_path": "another path changes no decision",
    "init_timeout_s": "a world waits for the first list; tests/simulation/test_life.py",
    "max_discovery_bytes": "a bound on memory; tests/net/test_fetch.py",
    "max_head_bytes": "a bound on memory; tests/net/test_http1.py",
    "max_response_bytes": "a bound on memory; tests/net/test_large_bodies.py",
    "poll_jitter": "the default is in every run",
    "retry_budget_ratio": "retry_budget_min_per_s moves the same bound",
    "retry_on": "the table of the default is checked; tests/policy/test_retry.py has others",
    "seed": "it is the seed of the plan",
    "snapshot_path": "the world makes the directory, for the program that restarts (RunPlan.restarts_s)",
    "trust_roots": "the network in memory has no TLS; tests/integration/test_client.py",
}
FAULTS_NOT_DRAWN = {
    ("discovery", "bandwidth"): "control_slow degrades the link itself",
    ("discovery", "slicer"): "control_slow sets small segments on the link itself",
    ("discovery", "truncate_body"): "list_garbage has incomplete lists as bodies",
    ("discovery", "garble_body"): "list_garbage has bodies that are not lists",
}
MALFORMED_NOT_DRAWN = {"endless_headers": "a megabyte for each response; huge_header tests the same bound"}


@pytest.fixture(scope="module")
def plans() -> list[RunPlan]:
    """Draw plans of every profile, without running them."""
    return [draw(seed, profile) for profile in PROFILES for seed in range(200)]


def check(not_drawn: set[Any], listed: dict[Any, str], where: str, table: str) -> None:
    """Fail if a table of names that are not drawn is incomplete or out of date; the message names what to change."""
    forgotten = sorted(not_drawn - set(listed))
    assert not forgotten, f"{forgotten}: draw it in {where}, or add it to {table} in this file with the reason"
    stale = sorted(set(listed) - not_drawn)
    assert not stale, f"{stale}: it is drawn (or gone), so remove it from {table} in this file"


def test_every_setting_of_a_client_is_drawn_or_listed_with_a_reason(plans: list[RunPlan]) -> None:
    """Drawn in `simulator/virtual/options.py`, or listed above."""
    drawn = {name for plan in plans for settings in (plan.client, *plan.own) for name in settings}
    known = {setting.name for setting in attrs.fields(ClientConfig) if setting.init}
    check(known - drawn, SETTINGS_NOT_DRAWN, "simulator/virtual/options.py", "SETTINGS_NOT_DRAWN")


def test_every_fault_of_the_simulator_is_drawn_or_listed_with_a_reason() -> None:
    """Drawn as the `fault` of a kind in `simulator/virtual/faults/catalog.py`, or listed above."""
    drawn = {("discovery" if kind.scope is Scope.CONTROL else "instance", kind.fault) for kind in KINDS.values()}
    known = {("instance", name) for name in ON_INSTANCES} | {("discovery", name) for name in ON_DISCOVERY}
    check(known - drawn, FAULTS_NOT_DRAWN, "simulator/virtual/faults/catalog.py", "FAULTS_NOT_DRAWN")


def test_every_kind_of_fault_is_in_some_plan(plans: list[RunPlan]) -> None:
    """A kind that no profile draws would never be injected."""
    assert set(KINDS) - {step.kind for plan in plans for step in plan.steps} == set()


def test_every_malformed_response_is_drawn_or_listed_with_a_reason(plans: list[RunPlan]) -> None:
    drawn = {step.with_.get("how") for plan in plans for step in plan.steps if "malformed" in step.kind}
    check(set(MALFORMED) - drawn, MALFORMED_NOT_DRAWN, "simulator/virtual/faults/catalog.py", "MALFORMED_NOT_DRAWN")
