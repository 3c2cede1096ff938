"""Hedged calls: a second leg for a slow answer, and one end."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from eas_tw import Condition, ConnectionFailed, DeadlineExceeded, StatusError
from tests.net.calling import House, Result, response, says
from tests.net.wire import Wire


class Hedged:
    """A call that has waited until its hedge left: both wires, the slow one first."""

    def __init__(self, **settings: Any) -> None:
        self.house = House(**{"n": 3, "hedge_after_s": 0.1, **settings})
        self.call: Result = self.house.call()
        self.slow: Wire = self.house.accept()
        self.house.reactor.advance(0.09)
        assert self.house.reactor.dials == []
        self.house.reactor.advance(0.02)
        self.fast: Wire = self.house.accept()
        self.counters = self.house.client.counters


def test_the_first_good_answer_wins_and_the_other_is_cancelled() -> None:
    """Its connection dies with it, and nothing is held against its instance."""
    hedged = Hedged()
    says(hedged.fast, response(body=b"fast"))
    assert str(hedged.call.value) == "fast"
    assert hedged.slow.aborted
    assert hedged.counters.hedges == 1
    assert (hedged.counters.calls, hedged.counters.answered) == (1, 1)
    assert hedged.counters.failures == {"cancelled": 1}
    assert hedged.house.client.ejected == ()
    hedged.house.assert_clean()


def test_the_first_leg_may_still_win() -> None:
    """Then the hedge is cancelled."""
    hedged = Hedged()
    says(hedged.slow, response(body=b"slow"))
    assert str(hedged.call.value) == "slow"
    assert hedged.fast.aborted
    hedged.house.assert_clean()


def test_an_answer_in_time_needs_no_hedge() -> None:
    """And leaves no timer."""
    house = House(hedge_after_s=0.1)
    call = house.call()
    says(house.accept(), response())
    house.reactor.advance(1.0)
    assert str(call.value) == "ok"
    assert house.client.counters.hedges == 0
    house.assert_clean()


@pytest.mark.parametrize("first", ["slow", "fast"])
def test_one_leg_may_fail_while_the_other_runs(first: str) -> None:
    """The call waits for the other, and does not retry meanwhile."""
    hedged = Hedged()
    failing, other = (hedged.slow, hedged.fast) if first == "slow" else (hedged.fast, hedged.slow)
    failing.lose()
    assert not hedged.call.fired
    assert hedged.house.reactor.dials == []
    says(other, response(body=b"other"))
    assert str(hedged.call.value) == "other"
    hedged.house.assert_clean()


def test_when_both_legs_fail_policy_decides_from_both() -> None:
    """Two of three attempts are gone; the third goes to the third instance."""
    hedged = Hedged()
    hedged.slow.lose()
    hedged.fast.lose()
    hedged.house.reactor.advance(0.3)
    hedged.house.accept().lose()
    assert isinstance(hedged.call.error, ConnectionFailed)
    assert hedged.call.conditions == [Condition.LOST] * 3
    assert len({attempt.instance for attempt in hedged.call.error.attempts}) == 3
    hedged.house.assert_clean()


def test_an_answer_that_is_an_error_waits_for_the_other_leg() -> None:
    """A 400 from one and a 400 from the other is a 400."""
    hedged = Hedged()
    says(hedged.slow, response(400))
    assert not hedged.call.fired
    says(hedged.fast, response(400, b"no such column"))
    assert isinstance(hedged.call.error, StatusError)
    assert hedged.call.error.body == b"no such column"
    hedged.house.assert_clean()


def test_the_deadline_ends_both() -> None:
    """One error with both attempts."""
    hedged = Hedged()
    hedged.house.reactor.advance(5.0)
    assert isinstance(hedged.call.error, DeadlineExceeded)
    assert hedged.call.conditions == [Condition.DEADLINE] * 2
    assert hedged.slow.aborted
    assert hedged.fast.aborted
    hedged.house.assert_clean()


def test_a_cancel_ends_both() -> None:
    """And `close` finds nothing left."""
    hedged = Hedged()
    hedged.call.deferred.cancel()
    assert isinstance(hedged.call.error, CancelledError)
    assert hedged.slow.aborted
    assert hedged.fast.aborted
    hedged.house.assert_clean()


@pytest.mark.parametrize(
    ("n", "settings", "options"),
    [
        (1, {}, {}),
        (3, {"attempts": 1}, {}),
        (3, {"retry_budget_ratio": 0, "retry_budget_min_per_s": 0}, {}),
        (3, {}, {"idempotent": False}),
    ],
    ids=["nowhere else", "one attempt", "no budget", "not idempotent"],
)
def test_when_there_is_no_hedge(n: int, settings: dict[str, Any], options: dict[str, Any]) -> None:
    """The call goes on as if hedging were off."""
    house = House(n, hedge_after_s=0.1, **settings)
    call = house.call(**options)
    wire = house.accept()
    house.reactor.advance(1.0)
    assert house.reactor.dials == []
    says(wire, response())
    assert str(call.value) == "ok"
    house.assert_clean()


def test_the_percentile_is_learned_from_calls() -> None:
    """Thirty-two answers of 10 ms, and the slow one is hedged after that."""
    house = House(hedge_after_s="p95")
    for _ in range(32):
        call = house.call()
        wire = house.accept() if house.reactor.dials else house.busy
        house.reactor.advance(0.01)
        says(wire, response())
        assert str(call.value) == "ok"
    slow = house.call()
    house.reactor.advance(0.02)
    assert house.client.counters.hedges == 1
    slow.deferred.cancel()
    house.assert_clean()
