"""When a call that has no answer yet is sent to a second instance: after a fixed delay, or after most would be back.

The tail at scale (Dean and Barroso, CACM 2013): a second request after the 95th percentile costs 5 % more load and cuts
the tail. Only the delay is decided here; the retry budget bounds hedges like retries.
"""

from __future__ import annotations

from collections import deque
from math import ceil, floor, log10
from typing import Literal

P95 = 0.95
WINDOW = 256
"""Answers that the percentile is taken of."""
_EVERY = 32


class Hedging:
    """The delay of hedges.

    Args:
        after: Seconds; `"p95"` for the running 95th percentile of latencies; `None` for no hedges.
    """

    def __init__(self, after: float | Literal["p95"] | None) -> None:
        self.delay_s = None if isinstance(after, str) else after
        self.is_learning = isinstance(after, str)
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._fresh = 0

    def observe(self, latency_s: float) -> None:
        """A call was answered after so long; of interest when `is_learning`."""
        self._latencies.append(latency_s)
        self._fresh += 1
        if self._fresh >= _EVERY:
            self._fresh = 0
            ranked = sorted(self._latencies)
            self.delay_s = _rounded(ranked[ceil(P95 * len(ranked)) - 1])


def _rounded(seconds: float) -> float:
    """Up to two digits, so that the deadlines of many calls share few queues."""
    unit = 10.0 ** (floor(log10(max(seconds, 1e-4))) - 1)
    return ceil(seconds / unit) * unit
