"""Every setting of the client and every fault is drawn by the simulation, or listed with a reason."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from eas_tw import ClientConfig
from simulator.fault_kinds import MALFORMED, ON_DISCOVERY, ON_INSTANCES
from simulator.virtual import world_options
from simulator.virtual.faults.catalog import (
    FIRST_KINDS,
    KINDS,
    LATER_KINDS,
    QUEUED,
    SERVED_LATER,
    WRONG,
    CatalogEntry,
    Scope,
)
from simulator.virtual.nemesis import draw
from simulator.virtual.plan import AT_QUEUE, PROFILES, RunPlan

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

FIRST = """
    crash hang drain refuse reset swallow grey error unavailable limited cut trickle slices truncated garbled malformed
    wrong_length slow_close close_idle slow_work reused idle_fin idle_rst busy_rst syn_unanswered slow_handshake
    full_queue latency loss narrow segments blackhole blackhole_up blackhole_down power_loss clog zone_loss zone_hole
    stall jump_ahead jump_back list_status list_empty list_garbage list_stale list_late list_never list_bad_rows
    list_zero list_negative list_duplicates list_flapping list_strangers list_huge list_unreachable list_cut
    list_malformed list_wrong_length control_hole control_slow add remove replace replace_all reweigh burst
"""
LATER = """
    dial_raises no_socket no_connect send_fails encode_raises parse_raises listener_raises listener_cancels
    parser_raises apply_raises stray_bytes no_length wall_ahead wall_back list_copies list_odd_rows list_weights
    list_other_status
"""
NOT_ON_QUEUES = {
    "reused": "the queue service itself answers 404 for a frame that it does not have",
    "no_length": "without a length, the client cannot detect that a response is truncated",
}
"""Kinds of instances that are not drawn for the queue service, besides those that explain `WRONG`."""


@pytest.fixture(scope="module")
def plans() -> list[RunPlan]:
    """Draw plans of every profile, without running them."""
    return [draw(seed, profile) for profile in PROFILES for seed in range(200)]


def check(not_drawn: set[Any], listed: dict[Any, str], where: str, table: str) -> None:
    """Fail if a table of names that are not drawn is incomplete or out of date; the message describes the change."""
    forgotten = sorted(not_drawn - set(listed))
    assert not forgotten, f"{forgotten}: draw it in {where}, or add it to {table} in this file with the reason"
    stale = sorted(set(listed) - not_drawn)
    assert not stale, f"{stale}: it is drawn (or gone), so remove it from {table} in this file"


def test_every_setting_of_a_client_is_drawn_or_listed_with_a_reason(plans: list[RunPlan]) -> None:
    """A setting is drawn in `simulator/virtual/options.py`, or listed in `SETTINGS_NOT_DRAWN`."""
    drawn = {name for plan in plans for settings in (plan.client, *plan.own) for name in settings}
    known = {setting.name for setting in attrs.fields(ClientConfig) if setting.init}
    check(known - drawn, SETTINGS_NOT_DRAWN, "simulator/virtual/options.py", "SETTINGS_NOT_DRAWN")


def test_every_fault_of_the_simulator_is_drawn_or_listed_with_a_reason() -> None:
    """A fault is the `fault` of a kind in `simulator/virtual/faults/catalog.py`, or listed in `FAULTS_NOT_DRAWN`."""
    drawn = {("discovery" if kind.scope is Scope.CONTROL else "instance", kind.fault) for kind in KINDS.values()}
    known = {("instance", name) for name in ON_INSTANCES} | {("discovery", name) for name in ON_DISCOVERY}
    check(known - drawn, FAULTS_NOT_DRAWN, "SERVED_LATER of simulator/virtual/faults/catalog.py", "FAULTS_NOT_DRAWN")


def test_every_kind_of_fault_is_in_some_plan(plans: list[RunPlan]) -> None:
    """A kind that no profile draws would never be injected."""
    assert set(KINDS) - {step.kind for plan in plans for step in plan.steps} == set()


@pytest.mark.parametrize(("name", "kinds", "known"), [("FIRST", FIRST_KINDS, FIRST), ("LATER", LATER_KINDS, LATER)])
def test_the_kinds_of_a_shared_random_stream_do_not_change(
    name: str, kinds: dict[str, CatalogEntry], known: str
) -> None:
    """The order of the kinds must not change either, because a kind is drawn by its position."""
    added = [kind for kind in kinds if kind not in known.split()]
    assert list(kinds) == known.split(), (
        f"{name}_KINDS is closed: {added or 'another order'} changes the faults of every seed. Put a new kind into "
        "SERVED_LATER in simulator/virtual/faults/catalog.py"
    )


def test_a_kind_that_is_added_later_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [(seed, draw(seed), draw(seed, later=False)) for seed in range(100)]
    entry = CatalogEntry("an example", fault="http_status")
    monkeypatch.setitem(SERVED_LATER, "example", entry)
    monkeypatch.setitem(KINDS, "example", entry)
    where = []
    for seed, full, short in before:
        after = draw(seed)
        added = [step for step in after.steps if step.kind == "example"]
        where += [step.where >= AT_QUEUE for step in added]
        assert after.but(steps=tuple(step for step in after.steps if step.kind != "example")) == full
        assert draw(seed, later=False) == short
    assert set(where) == {False, True}


def test_every_kind_of_instances_is_drawn_for_the_queue_service_or_listed_with_a_reason() -> None:
    """Kinds of `SERVED_LATER` need no entry here: `_served_later` draws all of them that do not explain `WRONG`."""
    decided = {*QUEUED, *SERVED_LATER, *world_options._ON_QUEUES}
    of_instances = {name for name, kind in KINDS.items() if kind.scope in (Scope.INSTANCE, Scope.MEMBER)}
    wrong = {name for name in of_instances if WRONG in KINDS[name].explains}
    assert not wrong & set(world_options._ON_QUEUES), "the checkers of queues need responses with the right bytes"
    check(
        of_instances - decided - wrong,
        NOT_ON_QUEUES,
        "_ON_QUEUES of simulator/virtual/world_options.py",
        "NOT_ON_QUEUES",
    )


def test_every_malformed_response_is_drawn_or_listed_with_a_reason(plans: list[RunPlan]) -> None:
    drawn = {step.with_.get("how") for plan in plans for step in plan.steps if "malformed" in step.kind}
    check(set(MALFORMED) - drawn, MALFORMED_NOT_DRAWN, "simulator/virtual/faults/catalog.py", "MALFORMED_NOT_DRAWN")
