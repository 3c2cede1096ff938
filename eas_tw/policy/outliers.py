"""Detection of outliers: instances that respond, but more slowly or with more errors than the others.

Both rules are optional. They compare an instance with the fleet's median over the last interval, among instances with
enough calls in it. The rule of Envoy and gRPC (success rate 1.9 standard deviations below the mean) is not used: among
fewer than six hosts none can be 1.9 deviations from the mean, and EAS lists often have 2–9 instances.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

Key = tuple[str, int]

INTERVAL_S = 10.0
"""Seconds between two comparisons, as in Envoy."""
# With fewer calls, one failure would change the success rate by more than 5 %.
MIN_CALLS = 20
MIN_INSTANCES = 3
"""Minimum number of instances for a comparison: if two instances differ, neither can be identified as the outlier."""


class _Tally:
    __slots__ = ("calls", "good", "good_s")

    def __init__(self) -> None:
        self.calls = 0
        self.good = 0
        self.good_s = 0.0


class Outliers:
    """Compares the instances at the end of each interval.

    Args:
        success_gap: An instance is an outlier when its success rate is lower than the median by more than
            `success_gap`, 0–1; `None` disables the rule.
        latency_ratio: An instance is an outlier when the mean latency of its successful attempts is more than
            `latency_ratio` times the median, > 1; `None` disables the rule.
    """

    def __init__(self, success_gap: float | None, latency_ratio: float | None) -> None:
        self._success_gap = success_gap
        self._latency_ratio = latency_ratio
        self._tallies: dict[Key, _Tally] = {}
        self._ends: float | None = None
        self.is_on = success_gap is not None or latency_ratio is not None

    def record(self, key: Key, elapsed_s: float, *, is_good: bool) -> None:
        """Record an attempt that took `elapsed_s` seconds."""
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        tally.calls += 1
        if is_good:
            tally.good += 1
            tally.good_s += elapsed_s

    def sweep(self, now: float, fleet: Collection[Key]) -> tuple[Key, ...]:
        """Return the outliers among `fleet` at the end of an interval; an empty tuple at any other time."""
        if self._ends is None or now < self._ends:
            self._ends = now + INTERVAL_S if self._ends is None else self._ends
            return ()
        tallies = {key: tally for key, tally in self._tallies.items() if key in fleet and tally.calls >= MIN_CALLS}
        self._tallies = {}
        self._ends = now + INTERVAL_S
        if len(tallies) < MIN_INSTANCES:
            return ()
        return (*self._failing(tallies), *self._slow(tallies))

    def _failing(self, tallies: dict[Key, _Tally]) -> list[Key]:
        if self._success_gap is None:
            return []
        shares = {key: tally.good / tally.calls for key, tally in tallies.items()}
        bar = median(shares.values()) - self._success_gap
        return sorted((key for key, share in shares.items() if share < bar), key=lambda key: shares[key])

    def _slow(self, tallies: dict[Key, _Tally]) -> list[Key]:
        means = {key: tally.good_s / tally.good for key, tally in tallies.items() if tally.good >= MIN_CALLS}
        if self._latency_ratio is None or len(means) < MIN_INSTANCES:
            return []
        bar = median(means.values()) * self._latency_ratio
        return sorted((key for key, mean in means.items() if mean > bar), key=lambda key: -means[key])
