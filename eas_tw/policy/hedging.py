"""Decides when to hedge, that is, to send a call without a response to a second instance.

There are three reasons for a hedge.

1. A delay has passed: a fixed delay, or the 95th percentile of latencies ("The tail at scale", Dean and Barroso, CACM
   2013: a second request after the 95th percentile causes 5 % more load and shortens the tail).

2. The call is *late*: half or three quarters of its time is over, its instances have sent nothing for at least an
   eighth of its time, and most responses take less than an eighth of its time. Where responses usually take longer (a
   language model computes for a minute), silence is no evidence, and no call is late.

3. The instance is *silent*: the call has waited three times the 99th percentile, and the instance has sent nothing for
   any other call in that time. The first check is made when a sixteenth of the call's time is over. While an instance
   is silent, every call is checked after three times the 99th percentile.

   Under high load a slow call does not make an instance silent, because the instance answers other calls. When all
   instances become slow, three slow responses of the last 256 raise the percentile, which ends the hedges.

   After half of a call's time, a wait of a sixteenth of its time is enough if no response is known yet, or if the last
   response or 95 % of the responses took at most an eighth of the call's time.

The retry budget, which also bounds hedges, is in `retry`.
"""

from __future__ import annotations

from collections import deque
from math import ceil, floor, log10
from typing import Literal

P95, P99 = 0.95, 0.99
WINDOW = 256
"""The number of latest responses over which percentiles are computed."""
HEDGE_POINTS = (0.0625, 0.125, 0.25, 0.5, 0.75)
"""Shares of a call's time after which it is checked for a hedge; a quarter is left after the last check."""
LOOK_SHARE = HEDGE_POINTS[0]
"""Interval between two checks of a call on silent instances that cannot be hedged yet, as a share of its time."""
USUAL_SHARE = 0.125
"""Silence for this share of a call's time is evidence against the instance, if most responses take less time."""
_LATE_SHARE = 0.5
# Sorting 256 values takes about 30 µs, as long as the CPU work of a whole call, so it is done once in 32 responses.
_EVERY = 32
_FEW = 8
"""Minimum number of responses for a 99th percentile; the maximum of fewer latencies is not reliable."""
_TIMES = 3.0
_LEAST_QUICK_S = 0.025
"""Minimum of `quick_s`: a pause of the client or the server (garbage collection, a busy machine) may take that long."""
_SLACK = 0.999
"""Tolerance in comparisons of times, because rounding of floats may make a timer fire early."""


class Hedging:
    """Computes the delay of hedges, and decides whether a call is late or an instance is silent.

    Args:
        after: A delay in seconds, > 0; `"p95"` for the running 95th percentile of latencies; `"late"` to hedge only
            late calls and calls on silent instances; `None` for no hedges.

    Attributes:
        delay_s: Seconds from the start of a call to the check for a hedge; `None` for no such check.
        quick_s: Seconds without a byte after which an instance may count as silent: three times the 99th percentile of
            latencies; `None` while too few latencies are known.
        hedge_points: Shares of a call's time after which it is checked.
        is_learning: Whether `observe` must be called with latencies.
        is_unasked: Whether a call is hedged after `delay_s` even if its instance is not silent.
    """

    def __init__(self, after: float | Literal["p95", "late"] | None) -> None:
        self.delay_s = None if isinstance(after, str) else after
        self.quick_s: float | None = None
        self.is_learning = after is not None
        self.is_unasked = after != "late"
        self.hedge_points = HEDGE_POINTS if after is not None else ()
        self._follows_p95 = after == "p95"
        self._is_wary = False
        self._usual_s: float | None = None
        self._last_s = 0.0
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._fresh = 0

    def observe(self, latency_s: float) -> None:
        """Record the latency of an answered call, in seconds; required only when `is_learning`."""
        self._latencies.append(latency_s)
        self._last_s = latency_s
        self._fresh += 1
        if self._fresh >= _EVERY or len(self._latencies) < _EVERY:
            self._learn()

    def set_wary(self, *, is_wary: bool) -> None:
        """Set whether an instance is known or suspected to be silent."""
        self._is_wary = is_wary
        if not self.is_unasked:
            self.delay_s = self.quick_s if is_wary else None

    def is_late(self, waited_s: float, timeout_s: float) -> bool:
        """Return whether a call with a timeout of `timeout_s` that has received nothing for `waited_s` is late."""
        return self._usual_s is not None and self._usual_s <= timeout_s * USUAL_SHARE <= waited_s

    def is_half_over(self, elapsed_s: float, timeout_s: float) -> bool:
        """Return whether at least half of a call's time is over, as is required to hedge it as late."""
        return elapsed_s >= timeout_s * _LATE_SHARE * _SLACK

    def is_silence(self, waited_s: float, elapsed_s: float, timeout_s: float) -> bool:
        """Return whether a wait is long enough to be silence, if the instance has answered no other call in that time.

        Args:
            waited_s: Seconds for which the last attempt of the call has received nothing.
            elapsed_s: Seconds since the call began.
            timeout_s: The call's timeout in seconds.
        """
        if self.quick_s is not None and waited_s >= self.quick_s * _SLACK:
            return True
        if waited_s < timeout_s * LOOK_SHARE * _SLACK or not self.is_half_over(elapsed_s, timeout_s):
            return False
        # No latency is known, or an outage has just raised the percentile: also use the last latency.
        return self._usual_s is None or min(self._usual_s, self._last_s) <= timeout_s * USUAL_SHARE

    def next_s(self, timeout_s: float) -> float:
        """Return the seconds until the next check of a call's last attempt, which has not been found silent yet."""
        return min(timeout_s * LOOK_SHARE, self.quick_s or timeout_s)

    def _learn(self) -> None:
        ranked = sorted(self._latencies)
        self._usual_s = ranked[ceil(P95 * len(ranked)) - 1]
        if len(ranked) >= _FEW:
            self.quick_s = _rounded(max(_LEAST_QUICK_S, _TIMES * ranked[ceil(P99 * len(ranked)) - 1]))
            if self._is_wary:
                self.set_wary(is_wary=True)
        if self._fresh >= _EVERY:
            self._fresh = 0
            if self._follows_p95:
                self.delay_s = _rounded(self._usual_s)


def _rounded(seconds: float) -> float:
    """Round up to two significant digits, so that the timers of many calls share few queues (`net.deadlines`)."""
    unit = 10.0 ** (floor(log10(max(seconds, 1e-4))) - 1)
    return ceil(seconds / unit) * unit
