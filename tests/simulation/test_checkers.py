"""Single checkers and faults: the violations that they report, and the runs that they accept."""

from __future__ import annotations

import json
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.messages import Response
from simulator.virtual.checkers.discovery import good_view
from simulator.virtual.checkers.retries import EndedAttempt, RetryChecker
from simulator.virtual.faults.attribution import FaultAttribution, FaultEffect
from simulator.virtual.faults.catalog import INSIDE, LATER_KINDS, LATEST_KINDS, ON_CLIENTS
from simulator.virtual.faults.rewriting import ODD_ROWS, Rewriting
from simulator.virtual.network.fault_points import LOCAL, Failing, is_injected
from simulator.virtual.plan import PlannedFault, RunPlan
from simulator.virtual.world import World

A, B = ("10.0.0.1", 1), ("10.0.0.2", 1)


class Budget:
    """A `RetryChecker` with a client and a clock."""

    def __init__(self, **settings: Any) -> None:
        self.now_s = 0.0
        self.found: list[str] = []
        self.checker = RetryChecker(lambda: self.now_s, FaultAttribution(), lambda name, _: self.found.append(name))
        self.sut: Any = SimpleNamespace(
            number=0,
            budget=0,
            budget_floor=3.0,
            budget_ratio=0.2,
            backoff_base_s=0.025,
            backoff_max_s=0.25,
            attempt_timeout_s=0.5,
            retry_on=frozenset({"lost", 503}),
            look=lambda: None,
            changed_at_s=-1.0,
            tick_s=0.0,
            **settings,
        )

    def calls(self, number: int, at_s: float) -> None:
        self.now_s = at_s
        for _ in range(number):
            self.checker.call_began(self.sut)

    def retry(self, at_s: float) -> None:
        """Report to the checker that a call was retried immediately on another instance."""
        self.now_s = at_s
        self.checker.check(self.sut, [attempt(A, "lost", 0.0, at_s), attempt(B, "answered", at_s, at_s, retry=True)])


def attempt(
    address: tuple[str, int], attempt_status: str, began_s: float, ended_s: float, *, retry: bool = False, **more: Any
) -> EndedAttempt:
    return EndedAttempt(
        address, attempt_status, more.get("status", 0), more.get("asked_s"), began_s, ended_s, retry, is_hedge=False
    )


def test_the_first_retry_beyond_the_budget_is_reported() -> None:
    """Ten calls and a minimum of three retries permit five retries in nine seconds; the sixth is reported."""
    budget = Budget()
    budget.calls(10, 100.0)
    for at in range(5):
        budget.retry(101.0 + at)
    assert budget.found == []
    budget.retry(108.9)
    assert budget.found == ["retry-budget"]


def test_calls_older_than_ten_seconds_do_not_add_to_the_budget() -> None:
    budget = Budget()
    budget.calls(100, 100.0)
    for at in range(3):
        budget.retry(110.1 + at)
    assert budget.found == []
    budget.retry(113.5)
    assert budget.found == ["retry-budget"]


@pytest.mark.parametrize(
    ("last", "pause_s", "found"),
    [
        (attempt(A, "lost", 0.0, 1.0), 0.0, []),
        (attempt(A, "lost", 0.0, 1.0), 0.01, ["retry-pause"]),
        (attempt(A, "status", 0.0, 1.0, status=503), 0.0, []),
        (attempt(A, "status", 0.0, 1.0, status=500), 0.0, ["retried-outcomes"]),
        (attempt(A, "status", 0.0, 1.0, status=429, asked_s=1.0), 1.0, []),
        (attempt(A, "status", 0.0, 1.0, status=429, asked_s=1.0), 0.25, ["retry-pause"]),
        (attempt(A, "status", 0.0, 1.0, status=429), 0.0, ["retried-outcomes"]),
    ],
)
def test_retried_outcomes_and_pauses_are_checked(last: EndedAttempt, pause_s: float, found: list[str]) -> None:
    """The first failover is immediate, a 429 is retried after its Retry-After, and a final status is not retried."""
    budget = Budget()
    budget.now_s = 10.0
    budget.checker.check(budget.sut, [last, attempt(B, "answered", 1.0 + pause_s, 2.0, retry=True)])
    assert budget.found == found


def test_a_fault_point_fails_only_while_its_fault_is_active() -> None:
    failing = Failing(Random(1), lambda: 7)
    end = failing.begin("socket", "EMFILE", 1.0)
    error = failing.error_at("socket")
    assert isinstance(error, OSError)
    assert is_injected(error)
    assert failing.error_at("dial") is None
    assert (failing.is_on, failing.local_ns, failing.raised) == (True, 7, {"socket": 1})
    end()
    assert failing.error_at("socket") is None
    assert not failing.is_on


def test_invalid_rows_and_copies_do_not_change_the_addresses_of_a_list() -> None:
    rows = [{"ip": "10.0.0.1", "port": 80, "weight": 3}]
    reply = Response(200, json.dumps({"endpoints": {"items": rows}}).encode())
    rewriting = Rewriting(Random(1))
    for kind, with_ in (("list_odd_rows", {}), ("list_copies", {"copies": 3})):
        end = rewriting.begin_list(kind, {"probability": 1.0, **with_})
        changed: Any = rewriting.reply(reply)
        end()
        assert changed.body != reply.body
        view = good_view(200, changed.body)
        assert view is not None
        assert list(view) == [("10.0.0.1", 80)]
        assert view["10.0.0.1", 80] >= 3
    assert len({json.dumps(row, default=str) for row in ODD_ROWS}) == len(ODD_ROWS)


ON_TOP = {**LATER_KINDS, **LATEST_KINDS}


@pytest.mark.parametrize("kind", sorted(ON_TOP))
def test_every_later_kind_can_be_injected_and_is_deterministic(kind: str) -> None:
    with_ = {name: draw(Random(3)) for name, draw in ON_TOP[kind].draws.items()}
    steps = (PlannedFault(1.0, kind, 0, 2.0, with_), PlannedFault(6.0, "add"))
    plan = RunPlan(2, chaos_s=15.0, is_heard=True, is_named=True, gateway="agent", steps=steps)
    first, again = World(plan).run(), World(plan).run()
    assert first.faults[kind] == 1
    assert first.digest == again.digest


def test_local_errors_are_named_by_errno_and_inside_kinds_have_a_point() -> None:
    assert all(name.startswith("E") for name in LOCAL)
    assert all(kind.point for kind in INSIDE.values())


def test_the_delays_of_a_clock_that_is_set_back_repeatedly_add_up() -> None:
    attribution = FaultAttribution()
    for begin_s in (100.0, 102.0):
        effect = FaultEffect(ON_CLIENTS["jump_back"], "jump_back", None, frozenset({0}), (), begin_s)
        attribution.add(effect)
        effect.end(begin_s)
    assert attribution.disturbs_sockets(0, 160.0, 160.0)
    assert not attribution.disturbs_sockets(0, 170.0, 170.0)
    assert not attribution.disturbs_sockets(1, 103.0, 103.0)
