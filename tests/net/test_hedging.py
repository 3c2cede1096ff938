"""Hedged calls: a second leg for a slow answer, and one end."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from eas_tw import Condition, ConnectionFailed, DeadlineExceeded, StatusError
from eas_tw.telemetry.events import AttemptEnded, CallEnded
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


class Late:
    """A client that knows that answers come in 10 ms, and a call to an instance that has gone silent."""

    def __init__(self, n: int = 3, **settings: Any) -> None:
        self.house = House(n, **settings)
        self.counters = self.house.client.counters
        for _ in range(n):
            call = self.house.call()
            wire = self.house.accept()
            self.house.reactor.advance(0.01)
            says(wire, response())
            assert str(call.value) == "ok"

    def silent(self, **options: Any) -> tuple[Result, Wire]:
        """A call, and where it went."""
        call = self.house.call(**options)
        self.house.reactor.advance(0)
        return call, self.newest()

    def newest(self, *others: Wire) -> Wire:
        """Where the call is besides."""
        (wire,) = [
            wire
            for wire in self.house.reactor.wires
            if wire.is_open and wire.protocol.is_busy and not any(wire is other for other in others)
        ]
        return wire


def test_a_late_call_is_sent_to_a_second_instance_and_a_third() -> None:
    """From half its time on while little is known of the service; those that are silent are listened to further."""
    late = Late()
    call, first = late.silent()
    late.house.reactor.advance(2.49)
    assert late.counters.hedges == 0
    late.house.reactor.advance(0.02)
    second = late.newest(first)
    late.house.reactor.advance(1.25)
    third = late.newest(first, second)
    assert late.counters.hedges == 2
    says(third, response(body=b"third"))
    assert str(call.value) == "third"
    assert not first.aborted
    assert not second.aborted
    late.house.reactor.advance(5.0)
    assert first.aborted
    assert second.aborted
    late.house.assert_clean()


def test_a_request_that_is_not_written_is_not_written_for_a_call_that_is_over() -> None:
    """A part of it is still here when another instance answers: the rest does not leave; the silence is noted."""
    late = Late()
    call = Result(late.house.client.predict(bytes(300_000)))
    late.house.reactor.advance(0)
    first = late.newest()
    assert first.producer is not None
    written = len(first.take())
    late.house.reactor.advance(2.51)
    second = late.newest(first)
    says(second, response(body=b"second"))
    assert str(call.value) == "second"
    assert written < 300_000
    assert first.aborted
    assert len(late.house.client.ejected) == 1
    late.house.assert_clean()


def test_a_chance_that_reached_nobody_is_given_again_at_once() -> None:
    """Who is asked beside the silent one refuses: the next is asked, and the budget is spent once."""
    late = Late(4, attempts=4, retry_budget_ratio=0, retry_budget_min_per_s=0.1)
    call, first = late.silent()
    late.house.reactor.advance(2.4)
    for wire in late.house.reactor.wires:
        # Nobody has a connection that could be used: the next attempt has to open one.
        if wire is not first and wire.is_open:
            wire.lose()
    late.house.reactor.advance(0.11)
    late.house.dial.fail()
    third = late.house.accept()
    assert dict(late.counters.retries) == {"connect_refused": 1}
    assert late.counters.hedges == 1
    says(third, response())
    assert str(call.value) == "ok"
    assert dict(late.counters.failures) == {"connect_refused": 1, "late": 1}
    late.house.assert_clean()


def test_silence_speaks_against_who_was_asked_earlier() -> None:
    """The one that said nothing while another answered is left out at once; who was merely slower is not."""
    late = Late(5)
    call, first = late.silent()
    late.house.reactor.advance(2.51)
    second = late.newest(first)
    late.house.reactor.advance(0.01)
    says(second, response())
    assert str(call.value) == "ok"
    assert late.counters.failures == {"late": 1}
    assert len(late.house.client.ejected) == 1
    # The other way round: the first comes back at last, and nothing is held against the second.
    watched = first
    call = late.house.call()
    late.house.reactor.advance(0)
    first = late.newest(watched)
    late.house.reactor.pump([0.01] * 251)
    second = late.newest(watched, first)
    says(first, response(body=b"at last"))
    assert str(call.value) == "at last"
    assert late.counters.failures == {"late": 1, "cancelled": 1}
    assert late.counters.ejections.total() == 1
    late.house.assert_clean()


def test_a_service_that_thinks_for_long_is_left_to_think() -> None:
    """Answers take a second of five: silence for half the time says nothing."""
    house = House(3)
    for _ in range(3):
        call = house.call()
        wire = house.accept()
        house.reactor.advance(1.0)
        says(wire, response())
        assert str(call.value) == "ok"
    call = house.call()
    house.reactor.advance(4.9)
    assert house.client.counters.hedges == 0
    says(house.busy, response())
    assert str(call.value) == "ok"
    house.assert_clean()


@pytest.mark.parametrize("at", range(3))
def test_every_attempt_of_a_call_is_told_before_its_end(at: int) -> None:
    """Whichever of its attempts' ends makes a listener cancel it: the winner's, or one that is dropped for it."""
    late, heard = Late(), []
    call, first = late.silent()

    def listener(event: Any) -> None:
        heard.append(event)
        if [type(event) for event in heard].count(AttemptEnded) == at + 1:
            call.deferred.cancel()

    late.house.client.listen(listener)
    late.house.reactor.advance(2.51)
    second = late.newest(first)
    late.house.reactor.advance(1.25)
    says(late.newest(first, second), response())
    assert isinstance(call.error, CancelledError)
    told = [event for event in heard if isinstance(event, AttemptEnded | CallEnded)]
    assert [type(event) for event in told] == [AttemptEnded, AttemptEnded, AttemptEnded, CallEnded]
    assert len({event.instance for event in told[:3]}) == 3
    assert late.counters.failed == {"CancelledError": 1}
    late.house.assert_clean()


def test_before_anything_has_answered_nobody_is_late() -> None:
    """There is nothing to compare with."""
    house = House(3)
    call = house.call()
    house.accept()
    house.reactor.advance(5.0)
    assert isinstance(call.error, DeadlineExceeded)
    assert house.client.counters.hedges == 0
    house.assert_clean()


@pytest.mark.parametrize(
    ("n", "settings", "options"),
    [
        (1, {}, {}),
        (3, {"attempts": 1}, {}),
        (3, {"hedge_after_s": None}, {}),
        (3, {"retry_budget_ratio": 0, "retry_budget_min_per_s": 0}, {}),
        (3, {}, {"idempotent": False}),
    ],
    ids=["nowhere else", "one attempt", "switched off", "no budget", "not idempotent"],
)
def test_when_there_is_no_second_chance(n: int, settings: dict[str, Any], options: dict[str, Any]) -> None:
    """The call has its one instance until the deadline."""
    late = Late(n, **settings)
    call, first = late.silent(**options)
    late.house.reactor.advance(5.0)
    assert isinstance(call.error, DeadlineExceeded)
    assert first.aborted
    assert late.counters.hedges == 0
    late.house.assert_clean()


def test_a_call_that_has_just_moved_on_is_not_late() -> None:
    """Its second instance is given time, too; at three quarters it has had it."""
    late = Late()
    call, first = late.silent()
    late.house.reactor.advance(2.4)
    first.lose()
    late.house.reactor.advance(0)
    # The kept connection was stale: the next is a new one, to another instance.
    second = late.house.accept()
    late.house.reactor.advance(0.2)
    assert late.counters.hedges == 0
    late.house.reactor.advance(1.2)
    assert late.counters.hedges == 1
    says(second, response())
    assert str(call.value) == "ok"
    late.house.assert_clean()
