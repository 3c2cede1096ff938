"""Hedged calls: a second attempt when the response is slow, and one result."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from eas_tw import AttemptStatus, ConnectionFailed, DeadlineExceeded, StatusError
from eas_tw.telemetry.events import AttemptEnded, CallEnded
from tests.net.calling import Harness, Result, response, says
from tests.net.wire import Wire


class Hedged:
    """A call whose hedge has been sent, and the connections of both attempts, the slow one first."""

    def __init__(self, **settings: Any) -> None:
        self.harness = Harness(**{"n": 3, "hedge_after_s": 0.1, **settings})
        self.call: Result = self.harness.call()
        self.slow: Wire = self.harness.accept()
        self.harness.reactor.advance(0.09)
        assert self.harness.reactor.dials == []
        self.harness.reactor.advance(0.02)
        self.fast: Wire = self.harness.accept()
        self.counters = self.harness.client.counters


def test_the_first_good_response_is_used_and_the_other_attempt_cancelled() -> None:
    """The connection of the cancelled attempt is closed. No failure is recorded for its instance."""
    hedged = Hedged()
    says(hedged.fast, response(body=b"fast"))
    assert str(hedged.call.value) == "fast"
    assert hedged.slow.aborted
    assert hedged.counters.hedges == 1
    assert (hedged.counters.calls, hedged.counters.answered) == (1, 1)
    assert hedged.counters.failures == {"cancelled": 1}
    assert hedged.harness.client.ejected == ()
    hedged.harness.assert_clean()


def test_the_response_to_the_first_attempt_may_be_used_after_the_hedge() -> None:
    hedged = Hedged()
    says(hedged.slow, response(body=b"slow"))
    assert str(hedged.call.value) == "slow"
    assert hedged.fast.aborted
    hedged.harness.assert_clean()


def test_no_hedge_is_sent_if_the_response_is_in_time() -> None:
    harness = Harness(hedge_after_s=0.1)
    call = harness.call()
    says(harness.accept(), response())
    harness.reactor.advance(1.0)
    assert str(call.value) == "ok"
    assert harness.client.counters.hedges == 0
    harness.assert_clean()


@pytest.mark.parametrize("first", ["slow", "fast"])
def test_one_attempt_may_fail_while_the_other_runs(first: str) -> None:
    hedged = Hedged()
    failing, other = (hedged.slow, hedged.fast) if first == "slow" else (hedged.fast, hedged.slow)
    failing.lose()
    assert not hedged.call.fired
    assert hedged.harness.reactor.dials == []
    says(other, response(body=b"other"))
    assert str(hedged.call.value) == "other"
    hedged.harness.assert_clean()


def test_a_call_is_retried_when_both_attempts_have_failed() -> None:
    """Two of three attempts have failed. The third is sent to the third instance."""
    hedged = Hedged()
    hedged.slow.lose()
    hedged.fast.lose()
    hedged.harness.reactor.advance(0.3)
    hedged.harness.accept().lose()
    assert isinstance(hedged.call.error, ConnectionFailed)
    assert hedged.call.attempt_statuses == [AttemptStatus.LOST] * 3
    assert len({attempt.instance for attempt in hedged.call.error.attempts}) == 3
    hedged.harness.assert_clean()


def test_an_error_response_waits_for_the_other_attempt() -> None:
    hedged = Hedged()
    says(hedged.slow, response(400))
    assert not hedged.call.fired
    says(hedged.fast, response(400, b"no such column"))
    assert isinstance(hedged.call.error, StatusError)
    assert hedged.call.error.body == b"no such column"
    hedged.harness.assert_clean()


def test_the_deadline_ends_both_attempts() -> None:
    hedged = Hedged()
    hedged.harness.reactor.advance(5.0)
    assert isinstance(hedged.call.error, DeadlineExceeded)
    assert hedged.call.attempt_statuses == [AttemptStatus.DEADLINE] * 2
    assert hedged.slow.aborted
    assert hedged.fast.aborted
    hedged.harness.assert_clean()


def test_a_cancel_ends_both_attempts() -> None:
    hedged = Hedged()
    hedged.call.deferred.cancel()
    assert isinstance(hedged.call.error, CancelledError)
    assert hedged.slow.aborted
    assert hedged.fast.aborted
    hedged.harness.assert_clean()


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
def test_no_hedge_is_sent_without_another_instance_or_permission(
    n: int, settings: dict[str, Any], options: dict[str, Any]
) -> None:
    harness = Harness(n, hedge_after_s=0.1, **settings)
    call = harness.call(**options)
    wire = harness.accept()
    harness.reactor.advance(1.0)
    assert harness.reactor.dials == []
    says(wire, response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_the_delay_of_a_hedge_is_a_percentile_of_earlier_calls() -> None:
    """After 32 responses within 10 ms, a slow call is hedged."""
    harness = Harness(hedge_after_s="p95")
    for _ in range(32):
        call = harness.call()
        wire = harness.accept() if harness.reactor.dials else harness.busy
        harness.reactor.advance(0.01)
        says(wire, response())
        assert str(call.value) == "ok"
    slow = harness.call()
    harness.reactor.advance(0.02)
    assert harness.client.counters.hedges == 1
    slow.deferred.cancel()
    harness.assert_clean()


class Late:
    """A client whose earlier responses took 10 ms; `silent` starts a call that gets no response."""

    def __init__(self, n: int = 3, **settings: Any) -> None:
        self.harness = Harness(n, **settings)
        self.counters = self.harness.client.counters
        for _ in range(n):
            call = self.harness.call()
            wire = self.harness.accept()
            self.harness.reactor.advance(0.01)
            says(wire, response())
            assert str(call.value) == "ok"

    def silent(self, **options: Any) -> tuple[Result, Wire]:
        """Start a call, and return it with its connection."""
        call = self.harness.call(**options)
        self.harness.reactor.advance(0)
        return call, self.newest()

    def newest(self, *others: Wire) -> Wire:
        """Return the only busy connection that is not in `others`."""
        (wire,) = [
            wire
            for wire in self.harness.reactor.wires
            if wire.is_open and wire.protocol.is_busy and not any(wire is other for other in others)
        ]
        return wire


def test_a_late_call_is_sent_to_a_second_instance_and_a_third() -> None:
    late = Late()
    call, first = late.silent()
    late.harness.reactor.advance(2.49)
    assert late.counters.hedges == 0
    late.harness.reactor.advance(0.02)
    second = late.newest(first)
    late.harness.reactor.advance(1.25)
    third = late.newest(first, second)
    assert late.counters.hedges == 2
    says(third, response(body=b"third"))
    assert str(call.value) == "third"
    assert not first.aborted
    assert not second.aborted
    late.harness.reactor.advance(5.0)
    assert first.aborted
    assert second.aborted
    late.harness.assert_clean()


def test_no_third_instance_is_asked_while_one_of_two_is_sending() -> None:
    late = Late()
    call, first = late.silent()
    late.harness.reactor.advance(2.51)
    second = late.newest(first)
    for _ in range(4):
        says(first, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" if first.protocol.heard_at < 0 else b"x")
        late.harness.reactor.advance(0.5)
    assert late.counters.hedges == 1
    says(first, b"xx")
    assert str(call.value) == "xxxxx"
    assert second.is_open
    late.harness.reactor.advance(5.0)
    late.harness.assert_clean()


def test_a_large_request_is_not_written_further_after_its_call_has_ended() -> None:
    late = Late()
    call = Result(late.harness.client.predict(bytes(300_000)))
    late.harness.reactor.advance(0)
    first = late.newest()
    assert first.producer is not None
    written = len(first.take())
    late.harness.reactor.advance(2.51)
    second = late.newest(first)
    says(second, response(body=b"second"))
    assert str(call.value) == "second"
    assert written < 300_000
    assert first.aborted
    assert len(late.harness.client.ejected) == 1
    late.harness.assert_clean()


def test_a_hedge_whose_connect_fails_is_retried_immediately() -> None:
    """The retry budget is charged once for the hedge and its retry."""
    late = Late(4, attempts=4, retry_budget_ratio=0, retry_budget_min_per_s=0.1)
    call, first = late.silent()
    late.harness.reactor.advance(2.4)
    for wire in late.harness.reactor.wires:
        # Close all idle connections, so that the next attempt must open a new one.
        if wire is not first and wire.is_open:
            wire.lose()
    late.harness.reactor.advance(0.11)
    late.harness.dial.fail()
    third = late.harness.accept()
    assert dict(late.counters.retries) == {"connect_refused": 1}
    assert late.counters.hedges == 1
    says(third, response())
    assert str(call.value) == "ok"
    assert dict(late.counters.failures) == {"connect_refused": 1, "late": 1}
    late.harness.assert_clean()


def test_the_instance_that_did_not_respond_to_a_hedged_call_is_ejected() -> None:
    """An instance whose response was only slower than that of the other instance is not ejected."""
    late = Late(5)
    call, first = late.silent()
    late.harness.reactor.advance(2.51)
    second = late.newest(first)
    late.harness.reactor.advance(0.01)
    says(second, response())
    assert str(call.value) == "ok"
    assert late.counters.failures == {"late": 1}
    assert len(late.harness.client.ejected) == 1
    # The opposite case: the first instance responds after the hedge, and no failure is recorded for the second.
    watched = first
    call = late.harness.call()
    late.harness.reactor.advance(0)
    first = late.newest(watched)
    late.harness.reactor.pump([0.01] * 251)
    second = late.newest(watched, first)
    says(first, response(body=b"at last"))
    assert str(call.value) == "at last"
    assert late.counters.failures == {"late": 1, "cancelled": 1}
    assert late.counters.ejections.total() == 1
    late.harness.assert_clean()


def resorted(**settings: Any) -> tuple[Late, Wire, Result]:
    """Return a client whose first instance is watched, the watched connection, and a call that can use only it."""
    late = Late(2, **settings)
    call, watched = late.silent()
    late.harness.reactor.advance(2.51)
    other = late.newest(watched)
    says(other, response())
    assert str(call.value) == "ok"
    assert not watched.aborted
    other.lose()
    call = late.harness.call()
    late.harness.dial.fail()
    return late, watched, call


def test_a_watched_connection_is_closed_if_it_is_the_only_one_that_a_call_could_use() -> None:
    """An instance that lost one request and works again must not wait for the end of the watch, up to timeout_s."""
    late, watched, call = resorted(max_connections_per_instance=1)
    assert watched.aborted
    late.harness.reactor.advance(0.01)
    says(late.harness.accept(), response(body=b"works again"))
    assert str(call.value) == "works again"
    late.harness.assert_clean()


def test_a_watched_connection_is_kept_while_another_one_is_free() -> None:
    late, watched, call = resorted(max_connections_per_instance=2)
    says(late.harness.accept(), response())
    assert str(call.value) == "ok"
    assert not watched.aborted
    late.harness.reactor.advance(5.0)
    assert watched.aborted
    late.harness.assert_clean()


def test_a_call_that_must_not_be_sent_twice_leaves_the_queue_of_a_silent_instance() -> None:
    """Nothing was sent, so another instance may get the call although it is not idempotent."""
    late = Late(2, max_connections_per_instance=1)
    long_call, busy = late.silent(timeout_s=60)
    other = late.harness.call()
    says(late.newest(busy), response())
    assert str(other.value) == "ok"
    queued = late.harness.call(idempotent=False)
    late.harness.reactor.advance(2.51)
    assert not queued.fired
    says(late.newest(busy), response(body=b"elsewhere"))
    assert not long_call.fired
    assert str(queued.value) == "elsewhere"
    assert dict(late.counters.retries) == {"waited": 1}
    long_call.deferred.cancel()
    late.harness.assert_clean()


def test_a_slow_service_is_not_hedged() -> None:
    harness = Harness(3)
    for _ in range(3):
        call = harness.call()
        wire = harness.accept()
        harness.reactor.advance(1.0)
        says(wire, response())
        assert str(call.value) == "ok"
    call = harness.call()
    harness.reactor.advance(4.9)
    assert harness.client.counters.hedges == 0
    says(harness.busy, response())
    assert str(call.value) == "ok"
    harness.assert_clean()


@pytest.mark.parametrize("at", range(3))
def test_the_events_of_all_attempts_are_sent_before_that_of_the_call(at: int) -> None:
    late, heard = Late(), []
    call, first = late.silent()

    def listener(event: Any) -> None:
        heard.append(event)
        if [type(event) for event in heard].count(AttemptEnded) == at + 1:
            call.deferred.cancel()

    late.harness.client.listen(listener)
    late.harness.reactor.advance(2.51)
    second = late.newest(first)
    late.harness.reactor.advance(1.25)
    says(late.newest(first, second), response())
    assert isinstance(call.error, CancelledError)
    told = [event for event in heard if isinstance(event, AttemptEnded | CallEnded)]
    assert [type(event) for event in told] == [AttemptEnded, AttemptEnded, AttemptEnded, CallEnded]
    assert len({event.instance for event in told[:3]}) == 3
    assert late.counters.failed == {"CancelledError": 1}
    late.harness.assert_clean()


def test_no_call_is_late_before_the_first_response() -> None:
    harness = Harness(3)
    call = harness.call()
    harness.accept()
    harness.reactor.advance(5.0)
    assert isinstance(call.error, DeadlineExceeded)
    assert harness.client.counters.hedges == 0
    harness.assert_clean()


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
def test_no_late_hedge_is_sent_without_another_instance_or_permission(
    n: int, settings: dict[str, Any], options: dict[str, Any]
) -> None:
    late = Late(n, **settings)
    call, first = late.silent(**options)
    late.harness.reactor.advance(5.0)
    assert isinstance(call.error, DeadlineExceeded)
    assert first.aborted
    assert late.counters.hedges == 0
    late.harness.assert_clean()


def test_a_call_that_was_just_retried_is_not_late() -> None:
    """The retry begins shortly before half of the timeout, so the hedge is sent at three quarters of the timeout."""
    late = Late()
    call, first = late.silent()
    late.harness.reactor.advance(2.4)
    first.lose()
    late.harness.reactor.advance(0)
    # The idle connection was stale, so the retry opens a new connection to another instance.
    second = late.harness.accept()
    late.harness.reactor.advance(0.2)
    assert late.counters.hedges == 0
    late.harness.reactor.advance(1.2)
    assert late.counters.hedges == 1
    says(second, response())
    assert str(call.value) == "ok"
    late.harness.assert_clean()


def test_a_hedge_never_goes_to_an_instance_on_which_the_call_is_running() -> None:
    """The only untried instance is ejected, and the call has had too many attempts to try it anyway."""
    harness = Harness(18, hedge_after_s=0.1, eject_after=1, timeout_s=60.0)
    out = harness.client.instances[-1]
    while harness.client.ejected == ():
        before = harness.call()
        while not before.fired:
            if harness.dial.address == out.key:
                harness.dial.fail()
            else:
                says(harness.accept(), response(200, b"ok", b"Connection: close"))
    assert harness.client.ejected == (out,)
    call = harness.call()
    for _ in range(16):
        harness.dial.fail()
    running = harness.accept()
    harness.reactor.advance(0.11)
    assert harness.reactor.dials == []
    says(running, response())
    assert str(call.value) == "ok"
    harness.assert_clean()
