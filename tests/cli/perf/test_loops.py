"""Closed and open loops on a `Clock`; the expected schedules and latencies are computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from eas_tw import NoInstances
from eas_tw.cli.perf.distribution import Distribution
from eas_tw.cli.perf.in_flight import CallsInFlight
from eas_tw.cli.perf.loops import EARLY_S, ClosedLoop, OpenLoop, Phases
from eas_tw.cli.perf.plan import Load
from tests.cli.perf.stalling import QUICK_S, Ended, Service, run_until, stalled

QUICK_MS = QUICK_S * 1000


def phases(
    until_s: float | None = None, requests: int | None = None, measure_s: float = 0.0, full_s: float = 0.0
) -> Phases:
    return Phases(0.0, full_s, measure_s, until_s, requests)


def percentiles(ended: Ended, *shares: float) -> list[float | None]:
    found = Distribution.of((latency, 1) for latency in ended.latencies_ms)
    return [found.percentile(share) for share in shares]


def complete(clock: Clock, done: Deferred[None], step_s: float = 1 / 128) -> None:
    ends: list[Any] = []
    done.addBoth(ends.append)
    run_until(clock, lambda: bool(ends), step_s)
    assert ends == [None]
    assert clock.getDelayedCalls() == []


class TestOpenLoop:
    """An open loop: calls are sent at the times of a schedule."""

    def test_a_stall_of_the_service_is_in_the_latencies_of_all_calls_that_were_due_in_it(self) -> None:
        """Eight calls are due each second, from 0 to 1.875 s. From 0.5 to 1.25 s the service stalls.

        The calls of 0.5, 0.625, … 1.125 s get their responses at 1.25 s: they take 750, 625, 500, 375, 250 and 125 ms.
        The other ten calls take 15.625 ms.
        """
        clock, ended = Clock(), Ended()
        service = Service(clock, stalled(0.5, 1.25))
        calls = ended.calls(clock, service)
        loop = OpenLoop(clock, calls, Load(1000, 8.0), phases(until_s=2.0), early_s=0.0)
        complete(clock, loop.run())
        assert service.asked == [number / 8 for number in range(16)]
        assert sorted(ended.latencies_ms) == [QUICK_MS] * 10 + [125, 250, 375, 500, 625, 750]
        assert percentiles(ended, 50, 75, 90, 95, 99) == [QUICK_MS, 250, 625, 750, 750]

    def test_a_stall_of_the_load_generator_itself_is_in_the_latencies_too(self) -> None:
        """The reactor is busy until 1 s. Three calls are sent then, with latencies that begin at their due times."""
        clock, ended = Clock(), Ended()
        loop = OpenLoop(clock, ended.calls(clock, Service(clock)), Load(1000, 8.0), phases(until_s=2.0), early_s=0.0)
        done = loop.run()
        run_until(clock, lambda: clock.seconds() >= 0.5 + QUICK_S)
        clock.advance(1.0 - clock.seconds())
        complete(clock, done)
        late = [call for call in ended if call.sent_s > call.due_s]
        assert [(call.due_s, call.sent_s) for call in late] == [(0.625, 1.0), (0.75, 1.0), (0.875, 1.0)]
        assert [call.delay_s for call in late] == [0.375, 0.25, 0.125]
        assert [call.latency_s for call in late] == [0.375 + QUICK_S, 0.25 + QUICK_S, 0.125 + QUICK_S]

    def test_calls_that_wait_for_others_count_from_their_time(self) -> None:
        """With one call in flight, 0.5 s for each call and four calls due each second, call n ends at (n + 1) / 2 s."""
        clock, ended = Clock(), Ended()
        service = Service(clock, lambda asked_s: asked_s + 0.5)
        loop = OpenLoop(clock, ended.calls(clock, service), Load(1, 4.0), phases(requests=4), early_s=0.0)
        complete(clock, loop.run())
        assert service.asked == [0.0, 0.5, 1.0, 1.5]
        assert ended.latencies_ms == [500, 750, 1000, 1250]
        assert loop.unsent == 0

    def test_calls_that_still_wait_at_the_end_are_counted_as_not_sent(self) -> None:
        clock, ended = Clock(), Ended()
        service = Service(clock, lambda asked_s: asked_s + 0.5)
        loop = OpenLoop(clock, ended.calls(clock, service), Load(1, 4.0), phases(until_s=1.25), early_s=0.0)
        complete(clock, loop.run())
        assert (service.asked, len(ended), loop.unsent) == ([0.0, 0.5, 1.0], 3, 2)

    def test_a_call_may_be_sent_a_millisecond_early_and_then_counts_from_its_start(self) -> None:
        clock, ended = Clock(), Ended()
        service = Service(clock)
        loop = OpenLoop(clock, ended.calls(clock, service), Load(10, 10.0), phases(requests=3))
        complete(clock, loop.run(), step_s=1 / 4096)
        assert service.asked[0] == 0.0
        for asked_s, due_s in zip(service.asked, (0.0, 0.1, 0.2), strict=True):
            assert due_s - EARLY_S <= asked_s <= due_s
        assert ended.latencies_ms == pytest.approx([QUICK_MS] * 3)
        assert [call.delay_s for call in ended] == [0.0] * 3

    def test_ramp_and_warm_up_come_before_the_requests(self) -> None:
        """A ramp of 1 s (4 calls) and a warm-up of 1 s (8 calls) precede the 3 measured calls."""
        clock, ended = Clock(), Ended()
        service = Service(clock)
        times = phases(requests=3, full_s=1.0, measure_s=2.0)
        loop = OpenLoop(clock, ended.calls(clock, service), Load(10, 8.0), times, early_s=0.0)
        complete(clock, loop.run(), step_s=1 / 1024)
        assert len(service.asked) == 4 + 8 + 3
        assert service.asked[-3:] == [2.0, 2.125, 2.25]

    def test_calls_that_end_at_once_do_not_recurse(self) -> None:
        clock, ended = Clock(), Ended()
        calls = CallsInFlight(clock, lambda: succeed(None), ended.append)
        loop = OpenLoop(clock, calls, Load(1, 1000.0), phases(requests=5000), early_s=0.0)
        done = loop.run()
        clock.advance(10.0)  # all calls are due in one iteration of the reactor
        assert result_of(done) is None
        assert len(ended) == 5000

    def test_a_stopped_loop_waits_for_the_calls_in_flight_only(self) -> None:
        clock, ended = Clock(), Ended()
        loop = OpenLoop(clock, ended.calls(clock, Service(clock)), Load(10, 8.0), phases(until_s=100.0), early_s=0.0)
        done = loop.run()
        loop.stop()
        assert not done.called
        complete(clock, done)
        assert len(ended) == 1

    def test_an_exception_that_is_no_error_of_the_client_ends_the_run(self) -> None:
        clock, ended = Clock(), Ended()
        service = Service(clock)
        service.errors = [None, ZeroDivisionError()]
        done = OpenLoop(clock, ended.calls(clock, service), Load(10, 8.0), phases(until_s=9.0), early_s=0.0).run()
        clock.pump([1 / 64] * 20)
        with pytest.raises(ZeroDivisionError):
            result_of(done)
        assert clock.getDelayedCalls() == []


class TestClosedLoop:
    """A closed loop: a fixed number of callers, each with one call at a time."""

    def test_a_stall_of_the_service_is_in_one_latency_for_each_caller(self) -> None:
        """The stall of `TestOpenLoop` with one caller: 32 calls before the stall, one during it, and 48 after it.

        So a closed loop underestimates the percentiles of independent users: only one latency contains the stall.
        """
        clock, ended = Clock(), Ended()
        service = Service(clock, stalled(0.5, 1.25))
        complete(clock, ClosedLoop(clock, ended.calls(clock, service), Load(1), phases(until_s=2.0)).run())
        assert sorted(ended.latencies_ms) == [QUICK_MS] * 80 + [750]
        assert percentiles(ended, 50, 95, 98) == [QUICK_MS] * 3

    @pytest.mark.parametrize(("callers", "requests"), [(1, 1), (3, 10), (8, 8), (16, 5)])
    def test_the_number_of_calls_is_the_requested_one(self, callers: int, requests: int) -> None:
        clock, ended = Clock(), Ended()
        calls = ended.calls(clock, Service(clock))
        done = ClosedLoop(clock, calls, Load(callers), phases(requests=requests)).run()
        assert len(calls) == min(callers, requests)
        complete(clock, done)
        assert len(ended) == requests

    def test_no_call_is_started_after_the_duration_and_those_in_flight_end(self) -> None:
        clock, ended = Clock(), Ended()
        service = Service(clock, lambda asked_s: asked_s + 0.75)
        complete(clock, ClosedLoop(clock, ended.calls(clock, service), Load(2), phases(until_s=1.0)).run())
        assert service.asked == [0.0, 0.0, 0.75, 0.75]
        assert [call.ended_s for call in ended] == [0.75, 0.75, 1.5, 1.5]

    def test_callers_join_one_after_the_other_in_a_ramp(self) -> None:
        clock, ended = Clock(), Ended()
        service = Service(clock, lambda asked_s: asked_s + 8.0)
        times = phases(until_s=6.0, full_s=4.0, measure_s=4.0)
        complete(clock, ClosedLoop(clock, ended.calls(clock, service), Load(4), times).run())
        assert service.asked == [0.0, 1.0, 2.0, 3.0]

    def test_stopping_wakes_the_callers_that_have_not_joined(self) -> None:
        clock, ended = Clock(), Ended()
        times = phases(until_s=90.0, full_s=60.0, measure_s=60.0)
        loop = ClosedLoop(clock, ended.calls(clock, Service(clock)), Load(4), times)
        done = loop.run()
        loop.stop()
        complete(clock, done)
        assert clock.seconds() < 1.0

    def test_timers_run_between_calls_that_fail_immediately(self) -> None:
        clock, ended = Clock(), Ended()

        loop = ClosedLoop(clock, CallsInFlight(clock, fail_at_once, ended.append), Load(1), phases(until_s=100.0))
        done = loop.run()
        assert len(ended) == 1
        clock.advance(0.001)
        assert len(ended) == 2
        loop.stop()
        assert result_of(done) is None
        assert isinstance(ended[0].error, NoInstances)

    def test_an_exception_that_is_no_error_of_the_client_ends_the_run(self) -> None:
        clock, ended = Clock(), Ended()
        service = Service(clock)
        service.errors = [ZeroDivisionError()]
        done = ClosedLoop(clock, ended.calls(clock, service), Load(1), phases(until_s=9.0)).run()
        clock.advance(QUICK_S)
        with pytest.raises(ZeroDivisionError):
            result_of(done)


class TestCallsInFlight:
    """`CallsInFlight` tracks the calls that have not ended."""

    def test_the_oldest_call_is_known_and_cancelled_calls_are_not_reported(self) -> None:
        clock, ended = Clock(), Ended()
        calls = ended.calls(clock, Service(clock, lambda _: 100.0))
        for _ in range(3):
            calls.start(clock.seconds())
            clock.advance(1.0)
        assert (len(calls), calls.oldest_s()) == (3, 3.0)
        calls.cancel()
        assert (len(calls), calls.oldest_s(), list(ended), clock.getDelayedCalls()) == (0, 0.0, [], [])


def fail_at_once() -> Deferred[Any]:
    failing: Deferred[Any] = Deferred()
    failing.errback(NoInstances("none"))
    return failing


def result_of(done: Deferred[None]) -> Any:
    """Return the result of a Deferred that has fired, or raise its exception."""
    found: list[Any] = []
    done.addBoth(found.append)
    assert found, "it has not ended"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]
