"""The log of a violation explains it to a reader who does not know the code."""

from __future__ import annotations

import pytest

from eas_tw.policy.outcomes import AttemptStatus
from simulator.virtual.plan import PlannedFault, RunPlan
from simulator.virtual.reporting.report import LINES, WORDS, explain, tail
from simulator.virtual.result import Result
from simulator.virtual.world import World
from tests.simulation.planted import BUGS

_STEPS = (
    PlannedFault(1.0, "crash", 0, 12.0),
    PlannedFault(2.0, "add", 0),
    PlannedFault(8.0, "list_garbage", -1, 12.0, {"probability": 1.0, "body": "<html>busy</html>"}),
    PlannedFault(9.0, "burst", 1, 0.0, {"calls": 20}),
    PlannedFault(10.0, "stall", 0, 0.5),
)


def _run(*, is_heard: bool) -> Result:
    return World(RunPlan(3, chaos_s=30.0, is_heard=is_heard, steps=_STEPS, client={"eject_base_s": 2.0})).run()


def _has(log: list[str], *parts: str) -> bool:
    """Whether one line of the log contains all `parts`."""
    return any(all(part in line for part in parts) for line in log)


@pytest.mark.parametrize("is_heard", [True, False])
def test_the_log_has_the_faults_with_their_targets_and_the_reactions_of_the_client(*, is_heard: bool) -> None:
    result = _run(is_heard=is_heard)
    assert not result.violations
    log = tail(result)
    assert _has(log, "fault 1, crash on echo-0 10.0.0.1:40001: connections are reset", ", for 12 s")
    assert _has(log, "the end of fault 1, crash on echo-0 10.0.0.1:40001")
    assert _has(log, "fault 2, add: an instance joins")
    assert not _has(log, "the end of fault 2")
    assert _has(log, "fault 3, list_garbage on discovery: discovery answers garbage")
    assert _has(log, "fault 4, burst: many calls at once, calls=20")
    assert _has(log, "fault 5, stall on client 0: ")
    assert _has(log, "client 0 has another list: + 10.0.0.1:40001 (weight 100), + ")
    assert _has(log, "client 0 has another list: + 10.0.0.1:40004 (weight 100)")
    assert _has(log, "client 0 leaves out 10.0.0.1:40001")
    assert _has(log, "client 0 takes back 10.0.0.1:40001")
    assert _has(log, "discovery answers client 0: no list")
    assert _has(log, "calls well answered, ", "after failed attempts: 10.0.0.1:40001 connect_refused") is is_heard
    assert _has(log, "client 0 keeps its list: ") is is_heard


def test_the_explanation_lists_only_faults_that_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS["refused_connect_not_retried"].plant(monkeypatch.setattr)
    result = _run(is_heard=True)
    told = explain(result, "replay FILE")
    assert result.violations[0].checker == "failure-explained"
    assert _has(told, "  6.00", " crash on instance 0: connections are reset")
    assert any(line.startswith("  … and ") and line.endswith(" later ones") for line in told)
    assert _has(told, "  connect_refused: ")
    assert not _has(told, "  attempt_timeout: ")


def test_calls_that_a_violation_names_are_not_summarised(monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS["body_of_the_previous_response_kept"].plant(monkeypatch.setattr)
    result = World(RunPlan(3, chaos_s=10.0)).run()
    log = tail(result)
    name = result.violations[0].says.split()[1]
    assert _has(log, f"call {name} ok in ", " ms from 10.0.0.1:")
    assert 0 < len(log) <= LINES


def test_a_run_without_violations_can_be_explained_too() -> None:
    told = explain(_run(is_heard=True), "replay FILE")
    assert "no violation" in told
    assert not any(line.endswith(" later ones") for line in told)


def test_every_status_of_a_failed_attempt_is_explained() -> None:
    assert {str(attempt_status) for attempt_status in AttemptStatus} - WORDS.keys() == {"answered", "status"}
