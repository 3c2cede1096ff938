"""`OverTime`, the results of a measurement in intervals of time; a call is counted in the interval of its due time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from eas_tw.cli.perf.histogram import CompactHistogram

if TYPE_CHECKING:
    from eas_tw.cli.perf.in_flight import EndedCall

_FIRST_INTERVAL_S = 0.25
_MOST_INTERVALS = 240


@define
class Interval:
    """The calls that were due in one interval.

    Attributes:
        answered: The latencies of the answered calls.
        failed: The number of calls without an answer.
    """

    answered: CompactHistogram = field(factory=CompactHistogram)
    failed: int = 0

    def add(self, other: Interval) -> None:
        """Add the calls of another interval."""
        self.answered.add(other.answered)
        self.failed += other.failed


class OverTime:
    """Latencies and failures for each interval of a measurement.

    A measurement of any duration has at most 240 intervals. Their length is a quarter of a second at first, and is
    doubled whenever more intervals would be needed.

    Args:
        begin_s: The beginning of the measurement, in seconds of the reactor's clock.

    Attributes:
        interval_s: The length of an interval, in seconds.
    """

    def __init__(self, begin_s: float) -> None:
        self._begin_s = begin_s
        self._intervals: dict[int, Interval] = {}
        self.interval_s = _FIRST_INTERVAL_S

    def record(self, call: EndedCall) -> None:
        """Count a call."""
        number = int((call.due_s - self._begin_s) / self.interval_s)
        while number >= _MOST_INTERVALS:
            self._join_pairs()
            number //= 2
        interval = self._intervals.get(number)
        if interval is None:
            interval = self._intervals[number] = Interval()
        if call.error is None:
            interval.answered.record(call.latency_s)
        else:
            interval.failed += 1

    def rows(self) -> list[tuple[float, Interval]]:
        """Return all intervals up to the last one with a call, each with its start in seconds since `begin_s`.

        For an interval in which no call was due, the counts are 0.
        """
        last = max(self._intervals, default=-1)
        return [(number * self.interval_s, self._intervals.get(number) or Interval()) for number in range(last + 1)]

    def _join_pairs(self) -> None:
        before, self._intervals = self._intervals, {}
        self.interval_s *= 2
        for number, interval in before.items():
            joined = self._intervals.setdefault(number // 2, interval)
            if joined is not interval:
                joined.add(interval)
