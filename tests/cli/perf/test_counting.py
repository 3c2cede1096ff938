"""Counting of calls, attempts and intervals in bounded memory."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from eas_tw import ConnectionFailed, Instance, StatusError
from eas_tw.cli.perf.bottleneck import bottleneck
from eas_tw.cli.perf.distribution import Distribution
from eas_tw.cli.perf.histogram import CompactHistogram
from eas_tw.cli.perf.in_flight import EndedCall, StreamTimes
from eas_tw.cli.perf.instances import InstanceTable
from eas_tw.cli.perf.lag import GeneratorWatch
from eas_tw.cli.perf.over_time import OverTime
from eas_tw.cli.perf.recorder import Recorder
from eas_tw.policy.outcomes import ANSWERED, AttemptResult, AttemptStatus, Outcome
from eas_tw.telemetry.events import AttemptEnded, CallEnded, Ejected

ONE, TWO = Instance("10.0.0.1", 80, 100), Instance("10.0.0.2", 80, 100)


def call(due_s: float, latency_s: float = 0.5, error: Exception | None = None) -> EndedCall:
    return EndedCall(due_s, due_s, due_s + latency_s, error)


class TestRecorder:
    """`Recorder` counts calls."""

    def test_calls_of_the_warm_up_are_not_counted(self) -> None:
        recorder = Recorder()
        recorder.begin(10.0)
        for due_s in (8.0, 9.999, 10.0, 12.0):
            recorder.record(call(due_s))
        recorder.record(call(9.0, 0.5, ConnectionFailed("refused")))
        assert (len(recorder.answered), recorder.failures, recorder.last_ended_s) == (2, 0, 12.5)

    def test_failures_are_apart_from_successes_and_counted_by_error_and_status(self) -> None:
        recorder = Recorder()
        recorder.record(call(0.0, 0.25))
        for error in (
            StatusError("one", status=503),
            StatusError("two", status=503),
            StatusError("three", status=429),
            ConnectionFailed("line 1\nline 2"),
        ):
            recorder.record(call(1.0, 2.0, error))
        assert (len(recorder.answered), recorder.answered.max_s) == (1, 0.25)
        assert (recorder.failures, recorder.failed.max_s) == (4, 2.0)
        assert [(row.name, row.count, row.example) for row in recorder.errors.values()] == [
            ("StatusError 503", 2, "two"),
            ("StatusError 429", 1, "three"),
            ("ConnectionFailed", 1, "line 1 line 2"),
        ]
        assert recorder.last_error is error

    def test_the_first_byte_counts_from_the_time_at_which_the_call_was_due(self) -> None:
        recorder, gaps = Recorder(), CompactHistogram()
        gaps.record(0.125)
        gaps.record(0.25)
        stream = StreamTimes(first_byte_s=3.0, gaps=gaps, events=3, tokens=2)
        recorder.record(EndedCall(due_s=1.0, sent_s=2.0, ended_s=5.0, stream=stream))
        assert (recorder.first_bytes.max_s, recorder.gaps.max_s, len(recorder.gaps)) == (2.0, 0.25, 2)
        assert (recorder.events, recorder.tokens, recorder.answered.max_s) == (3, 2, 4.0)


class TestOverTime:
    """`OverTime` counts calls by interval."""

    def test_a_call_belongs_to_the_interval_in_which_it_was_due(self) -> None:
        over_time = OverTime(100.0)
        over_time.record(call(100.1, 5.0))
        over_time.record(call(100.6))
        over_time.record(call(100.7, 0.5, ConnectionFailed("refused")))
        rows = [(begin_s, interval.answered.count, interval.failed) for begin_s, interval in over_time.rows()]
        assert rows == [(0.0, 1, 0), (0.25, 0, 0), (0.5, 1, 1)]

    @pytest.mark.parametrize("hours", [0.01, 1, 30])
    def test_the_number_of_intervals_is_bounded_and_no_call_is_lost(self, hours: float) -> None:
        over_time = OverTime(0.0)
        for number in range(3600):
            over_time.record(call(number * hours, latency_s=number + 1))
        rows = over_time.rows()
        assert len(rows) <= 240
        assert over_time.interval_s < max(0.5, hours * 3600 * 2 / 120)
        assert sum(interval.answered.count for _, interval in rows) == 3600
        assert [interval.answered.max_s for _, interval in rows if interval.answered.count][-1] == 3600


class TestInstanceTable:
    """`InstanceTable` counts attempts, from the events of a client."""

    def test_attempts_are_counted_by_instance(self) -> None:
        clock = Clock()
        clock.advance(100.0)
        table = InstanceTable(clock.seconds, begin_s=90.0)
        refused = Outcome(AttemptStatus.CONNECT_REFUSED)
        failed = AttemptResult(ONE, refused, 0.5)
        table(AttemptEnded("echo", ONE, refused, 0.5))
        table(AttemptEnded("echo", TWO, ANSWERED, 0.25, retry_of=failed))
        table(AttemptEnded("echo", TWO, ANSWERED, 0.125, is_hedge=True))
        table(AttemptEnded("echo", ONE, Outcome(AttemptStatus.CANCELLED), 0.5))
        table(Ejected("echo", ONE, "connect_refused"))
        table(CallEnded("echo", 0.5, "", (), TWO))
        one, two = table.rows[ONE.address], table.rows[TWO.address]
        assert (one.attempts, one.errors, one.retries, one.hedges, one.ejections) == (1, 1, 0, 0, 1)
        assert (two.attempts, two.errors, two.retries, two.hedges, two.ejections) == (2, 0, 1, 1, 0)
        assert (two.latencies.count, two.latencies.max_s, one.latencies.count) == (2, 0.25, 0)
        assert (table.retries, table.hedges) == (1, 1)

    def test_a_hedge_that_is_sent_again_counts_as_a_retry_as_in_the_counters(self) -> None:
        table = InstanceTable(Clock().seconds, begin_s=-1.0)
        failed = AttemptResult(ONE, Outcome(AttemptStatus.UNSENT), 0.0)
        table(AttemptEnded("echo", ONE, ANSWERED, 0.0, retry_of=failed, is_hedge=True))
        assert (table.retries, table.hedges) == (1, 0)

    def test_attempts_that_began_before_the_measurement_are_not_counted(self) -> None:
        clock = Clock()
        clock.advance(10.0)
        table = InstanceTable(clock.seconds, begin_s=9.0)
        table(AttemptEnded("echo", ONE, ANSWERED, 1.5))
        assert table.rows == {}


class TestGeneratorWatch:
    """`GeneratorWatch` measures how late the load generator is, and its CPU time."""

    def test_a_busy_reactor_is_late(self) -> None:
        clock = Clock()
        watch = GeneratorWatch(clock, cpu_s=clock.seconds)
        watch.start()
        clock.pump([0.02] * 10)
        assert watch.lag.max_s < 1e-9
        clock.advance(0.5)  # one reactor iteration that takes half a second
        assert watch.lag.max_s == pytest.approx(0.48)
        assert watch.cpu_share() == pytest.approx(1.0)
        watch.stop()
        assert clock.getDelayedCalls() == []

    def test_a_new_start_drops_the_warm_up(self) -> None:
        clock = Clock()
        watch = GeneratorWatch(clock, cpu_s=lambda: 0.0)
        watch.start()
        clock.advance(3.0)
        watch.start()
        assert (watch.lag.count, watch.cpu_share()) == (0, 0.0)
        watch.stop()


def times(*milliseconds: float) -> Distribution:
    return Distribution.of((value / 1000, 1) for value in milliseconds)


@pytest.mark.parametrize(
    ("lag", "cpu", "delays", "answered", "says"),
    [
        (times(0.1), 0.5, times(0.1), times(10), ""),
        (times(0.1), 0.95, None, times(10), "it used 95% of a core"),
        (times(4), 0.5, None, times(10), "its reactor was 4.0 ms late"),
        (times(4), 0.5, None, times(100), ""),  # 4 % of the median
        (times(1.9), 0.5, None, times(0.5), ""),  # timers are up to 2 ms late even on an idle machine
        (times(0.1), 0.5, times(20), times(10), "it sent calls 20.0 ms late"),
        (times(4), 0.1, None, times(10), "as it used only 10% of a core, other programs keep this machine busy"),
        (times(4), 0.6, None, times(10), "reduce the load"),
        (times(9), 0.99, times(20), times(10), "99% of a core, its reactor was 9.0 ms late (p99), it sent calls"),
        (times(), 0.0, None, times(), ""),
    ],
)
def test_when_the_load_generator_is_the_bottleneck(
    lag: Distribution, cpu: float, delays: Distribution | None, answered: Distribution, says: str
) -> None:
    said = bottleneck(lag, cpu, delays, answered)
    assert says in said
    assert bool(said) == bool(says)
