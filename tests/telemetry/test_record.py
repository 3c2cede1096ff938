"""Counters equal the sums of the events that listeners receive."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from eas_tw import AttemptStatus, Instance
from eas_tw.policy.outcomes import ANSWERED, AttemptResult, Outcome
from eas_tw.telemetry.counters import FORMER, FORMER_KEPT, Counters
from eas_tw.telemetry.events import (
    AttemptEnded,
    BalancerFallback,
    CallEnded,
    Ejected,
    EjectionOverflow,
    ListChanged,
    PollRefused,
    StreamEnded,
)
from eas_tw.telemetry.record import Record
from simulator import Fault, Target
from simulator.virtual.checkers.telemetry import EventTotals
from tests.net.calling import Harness, Result, response, says
from tests.net.wire import Wire
from tests.simulation.harness import Harness as Region

A, B, C, D = (Instance(f"10.0.0.{number}", 80) for number in range(1, 5))
REFUSED = AttemptResult(A, Outcome(AttemptStatus.CONNECT_REFUSED), 0.5)


class Recorded:
    """A call or an attempt, with only the attributes that `Record` reads."""

    def __init__(self, instance: Instance = A, retry_of: AttemptResult | None = None, beside: Any = ()) -> None:
        self.began = 1.0
        self.history = (REFUSED,)
        self.instance = instance
        self.retry_of = retry_of
        self.beside = beside


def everything(record: Record) -> None:
    """Call each method of a record."""
    call = Recorded()
    record.list_changed(())
    record.poll_rejected("empty_list", "it is empty")
    record.call_began()
    for attempt in (Recorded(), Recorded(B, REFUSED), Recorded(B, beside=(A.key,))):
        record.attempt_began(attempt, attempt.instance.address)
    record.attempt_failed(Recorded(), call, REFUSED)
    record.ejected(A, "it refused")
    record.not_ejected(B, "status 503")
    record.attempt_failed(Recorded(B, beside=(A.key,)), call, AttemptResult(B, Outcome(AttemptStatus.STATUS, 503), 1.0))
    record.attempt_answered(Recorded(B, REFUSED), call)
    record.call_answered(call, B)
    record.call_began()
    record.call_failed(call, "CancelledError", None)
    record.returned(A)
    record.balancer_fell_back("proposed no instance")
    record.stream_began()
    record.stream_ended(A, Outcome(AttemptStatus.RESPONSE_TRUNCATED), 7, 1.0)
    record.watch_opened(A, 0, is_reconnect=False)
    record.watch_lost(A, Outcome(AttemptStatus.RESPONSE_TRUNCATED), 0.05)
    record.watch_opened(B, 3, is_reconnect=True)
    for is_repeated in (False, False, True):
        record.frame_received(B, 3, is_repeated=is_repeated)
    record.frames_committed((1, 2))
    record.frames_committed((3,), "DeadlineExceeded")


def no_clock() -> float:
    raise AssertionError("nobody listens, and the clock is asked")


def test_without_a_listener_only_counters_change_and_no_clock_is_read() -> None:
    record = Record(no_clock, no_clock)
    everything(record)
    assert record.counters == Counters(
        calls=2,
        answered=1,
        failed={"CancelledError": 1},
        attempts={A.address: 1, B.address: 2},
        failures={"connect_refused": 1, "503": 1},
        failures_at={A.address: 1, B.address: 1},
        retries={"connect_refused": 1},
        failovers=1,
        hedges=1,
        ejections={A.address: 1},
        ejections_overflow={B.address: 1},
        balancer_fallbacks=1,
        streams=1,
        streams_broken={"cut": 1},
        watches=2,
        watches_lost={"cut": 1},
        frames=2,
        frames_repeated=1,
        commits=2,
        commits_failed=1,
    )


def test_listening_changes_no_count() -> None:
    alone, heard = Record(no_clock, no_clock), Record(lambda: 3.0, no_clock)
    answered_when_heard: list[int] = []
    heard.listen(
        lambda event: answered_when_heard.append(heard.counters.answered) if isinstance(event, CallEnded) else None
    )
    everything(alone)
    everything(heard)
    assert heard.counters == alone.counters
    assert answered_when_heard == [1, 1]


def test_the_event_of_an_attempt_shows_whether_it_was_a_retry_or_a_hedge() -> None:
    record, found = Record(lambda: 3.0, no_clock), []
    record.listen(lambda event: found.append(event) if isinstance(event, AttemptEnded) else None)
    everything(record)
    assert [(event.instance, event.retry_of, event.is_hedge) for event in found] == [
        (A, None, False),
        (B, None, True),
        (B, REFUSED, False),
    ]
    assert [event.elapsed_s for event in found] == [0.5, 1.0, 2.0]


def test_a_listener_gets_no_events_after_its_removal() -> None:
    record = Record(lambda: 3.0, no_clock)
    one: list[Any] = []
    other: list[Any] = []
    stop = record.listen(one.append)
    record.listen(other.append)
    record.returned(A)
    stop()
    record.returned(B)
    assert (len(one), len(other)) == (1, 2)


def test_all_listeners_get_events_in_the_order_of_their_occurrence() -> None:
    record = Record(lambda: 3.0, no_clock)
    orders: list[list[Any]] = [[] for _ in range(4)]
    more = {1: C, 2: D}

    def listener(number: int) -> None:
        def hear(event: Any) -> None:
            orders[number].append(event.instance)
            if event.instance is A and number in more:
                record.returned(more[number])

        record.listen(hear)

    for number in range(4):
        listener(number)
    record.returned(A)
    record.returned(B)
    assert orders == [[A, C, D, B]] * 4


def test_counts_of_instances_that_were_removed_long_ago_are_merged() -> None:
    """Sums do not change. Counts of listed instances, and of those removed last, are still separate."""
    record = Record(no_clock, no_clock)
    for number in range(5000):
        now = Instance("10.1.0.1", number)
        record.list_changed((), (A, now))
        for instance in (A, now):
            record.attempt_began(Recorded(instance), instance.address)
            record.attempt_failed(
                Recorded(instance), Recorded(), AttemptResult(instance, Outcome(AttemptStatus.STATUS, 503), 0.1)
            )
            record.ejected(instance, "it failed")
    counters = record.counters
    for counts in (counters.attempts, counters.failures_at, counters.ejections):
        assert counts.total() == 10_000
        assert counts[A.address] == 5000
        assert counts["10.1.0.1:4999"] == 1
        assert counts[FORMER] > 4000
        assert len(counts) <= 2 * FORMER_KEPT + 4
    record.attempt_failed(
        Recorded(), Recorded(), AttemptResult(Instance("10.1.0.1", 1), Outcome(AttemptStatus.STATUS, 503), 0.1)
    )
    counters.fold((A.address,))
    assert "10.1.0.1:1" not in counters.failures_at
    assert len(counters.attempts) == FORMER_KEPT + 2
    assert counters.failures_at.total() == 10_001


def test_the_telemetry_checker_adds_up_former_instances() -> None:
    record, totals = Record(lambda: 3.0, no_clock), EventTotals()
    for number in range(2000):
        instance = Instance("10.1.0.1", number)
        record.list_changed((), (instance,))
        record.attempt_began(Recorded(instance), instance.address)
        totals.attempt_ended(AttemptEnded("echo", instance, ANSWERED, 0.1))
    assert FORMER in record.counters.attempts
    assert totals.differences(record.counters) == []
    record.counters.attempts[FORMER] -= 1
    assert len(totals.differences(record.counters)) == 1


def added_up(client: Any) -> EventTotals:
    """Return counters that are computed from the later events of a client."""
    totals = EventTotals()
    ears: dict[type, Any] = {
        AttemptEnded: totals.attempt_ended, CallEnded: totals.call_ended, Ejected: totals.ejected,
        EjectionOverflow: totals.not_ejected, BalancerFallback: totals.balancer_fell_back,
        StreamEnded: totals.stream_ended,
    }  # fmt: skip

    def hear(event: object) -> None:
        if type(event) in ears:
            ears[type(event)](event)

    client.listen(hear)
    return totals


def wire_of(harness: Harness) -> Wire:
    """Return the connection of the only call, which is new or reused."""
    return harness.accept() if harness.reactor.dials else harness.busy


class Picky:
    """A request whose responses cannot be parsed."""

    def to_string(self) -> bytes:
        return b""

    def parse_response(self, content: bytes) -> object:
        raise KeyError(content)


def test_counters_equal_the_events_for_each_way_in_which_a_call_ends() -> None:
    """The calls end with a response, a parse error, status 400, a cancellation, a deadline, and by `close`."""
    harness = Harness(3, hedge_after_s=0.1, drain_timeout_s=0)
    totals = added_up(harness.client)
    counters = harness.client.counters

    harness.call()
    harness.dial.fail()  # this ejects the instance
    says(harness.accept(), response())

    unreadable = Result(harness.client.predict(Picky()))
    says(wire_of(harness), response())
    assert isinstance(unreadable.error, KeyError)

    stale = harness.call()
    wire_of(harness).lose()
    says(wire_of(harness), response())
    assert str(stale.value) == "ok"

    refused = harness.call()
    says(wire_of(harness), response(400))
    assert refused.fired

    hedged = harness.call()
    harness.reactor.advance(0.11)
    assert counters.hedges == 1
    for wire in [*(dial.accept() for dial in list(harness.reactor.dials)), *harness.reactor.wires]:
        if not hedged.fired and wire.is_open and wire.protocol.is_busy:
            says(wire, response())
    assert str(hedged.value) == "ok"

    cancelled = harness.call()
    cancelled.deferred.cancel()
    late = harness.call(timeout_s=0.05)
    harness.reactor.advance(0.06)
    assert late.fired
    harness.call()
    harness.assert_clean()  # this closes the client during the call

    assert counters.failures["cancelled"] >= 2
    assert counters.retries == {"connect_refused": 1, "stale": 1}
    assert counters.ejections.total() >= 1
    assert set(counters.failed) == {"KeyError", "StatusError", "CancelledError", "DeadlineExceeded", "ClientClosed"}
    assert totals.differences(counters) == []
    assert counters.calls == counters.answered + counters.failed.total() == 8


def test_a_retry_that_is_not_sent_is_not_counted() -> None:
    """The call is cancelled during the pause before its third attempt."""
    harness = Harness(3, backoff_base_s=1.0, backoff_max_s=1.0)
    totals = added_up(harness.client)
    call = harness.call()
    harness.dial.fail()
    harness.accept().lose()
    assert not harness.reactor.dials
    call.deferred.cancel()
    counters = harness.client.counters
    assert (counters.attempts.total(), counters.retries) == (2, {"connect_refused": 1})
    assert totals.differences(counters) == []
    harness.assert_clean()


def test_counters_and_events_agree_under_many_faults() -> None:
    region = Region(attempt_timeout_s=0.2, hedge_after_s=0.05, timeout_s=0.5)
    heard: list[Any] = []
    region.client.listen(heard.append)
    totals = added_up(region.client)
    region.init()
    region.traffic(1.0)
    region.instance(0).crash()
    region.instance(1).hang()
    region.traffic(1.0)
    region.discovery_fault("empty_list")
    for _ in range(20):
        region.client.predict("cancelled").addErrback(lambda _: None).cancel()
        region.traffic(0.2)
    region.instance(0).restart()
    region.instance(1).resume()
    region.world.faults.add(Fault("http_status", target=Target("echo"), attributes={"code": 500}))
    region.traffic(2.0)
    region.heal()
    region.traffic(10.0)
    region.wait(1.0)
    counters = region.client.counters
    assert {ListChanged, PollRefused, Ejected, AttemptEnded, CallEnded} <= {type(event) for event in heard}
    unseen = [name for name, count in asdict(counters).items() if not count]
    of_queues = ["watches", "watches_lost", "frames", "frames_repeated", "commits", "commits_failed"]
    assert set(unseen) == {"streams", "streams_broken", "balancer_fallbacks", *of_queues}  # not used in this run
    assert totals.differences(counters) == []
    region.assert_clean()
