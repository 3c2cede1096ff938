"""Deciding when a call without an answer is sent to a second instance.

There are three reasons for a hedge.

After a fixed delay, or after the 95th percentile of latencies ("The tail at scale", Dean and Barroso, CACM 2013: a
second request after the 95th percentile costs 5 % more load and cuts the tail).

When the call is *late*: half of its time is over, or three quarters, its instances have sent nothing for at least an
eighth of that time, and most answers take less than an eighth. Where answers usually take long (a language model
computes for a minute) silence says nothing, and no call is late.

When the instance is *silent*: the call has waited three times the 99th percentile, and the instance has sent nothing
for any other call in that time. This is checked first when a sixteenth of the call's time is over. Once an instance is
silent, and until none is, every call is checked after three times the 99th percentile. Under high load a slow call does
not make an instance silent, because the instance answers other calls. When all instances turn slow, three slow answers
of the last 256 raise the percentile and end the hedges. When half of a call's time is over, the limit is a sixteenth of
the call's time, if too few answers are known, or if the last answer took less than an eighth of that time.

The retry budget bounds hedges like retries; it is not decided here.
"""

from __future__ import annotations

from collections import deque
from math import ceil, floor, log10
from typing import Literal

P95, P99 = 0.95, 0.99
WINDOW = 256
"""The number of latest answers over which percentiles are computed."""
HEDGE_POINTS = (0.0625, 0.125, 0.25, 0.5, 0.75)
"""Shares of a call's time after which it is checked for a hedge; the last leaves a quarter for the answer."""
LOOK_SHARE = HEDGE_POINTS[0]
"""Share of a call's time between two checks of a call whose instances are silent and that could not be hedged yet."""
USUAL_SHARE = 0.125
"""Share of a call's time: silence for so long is evidence where most answers take less."""
_LATE_SHARE = 0.5
# Sorting 256 values takes about 30 µs, as long as the CPU work of a whole call, so it is done once in 32 answers.
_EVERY = 32
_FEW = 8
"""The least number of answers for a 99th percentile; with fewer, the longest says too little about the next one."""
_TIMES = 3.0
_LEAST_QUICK_S = 0.025
"""The least silence in seconds: a pause of either process (garbage collection, a busy machine) may take that long."""
_SLACK = 0.999
"""Factor for comparing times: a timer may fire early by the rounding of a float."""


class Hedging:
    """Computes the delay of hedges, and decides which call is late and which instance silent.

    Args:
        after: A delay in seconds, > 0; `"p95"` for the running 95th percentile of latencies; `"late"` for late and
            silent calls only; `None` for no hedges.

    Attributes:
        delay_s: Seconds after its beginning at which a call is checked or hedged; `None` for not at all.
        quick_s: Seconds of silence that exceed any usual latency; `None` while too few answers are known.
        hedge_points: Shares of a call's time after which it is checked.
        is_learning: Whether `observe` has to be called with latencies.
        is_unasked: Whether a call is hedged after `delay_s` whatever its instance does.
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
        """Record the latency of an answered call, in seconds; needed only when `is_learning`."""
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
        """Return whether a call of `timeout_s` in all that has received nothing for `waited_s` is late."""
        return self._usual_s is not None and self._usual_s <= timeout_s * USUAL_SHARE <= waited_s

    def is_half_over(self, elapsed_s: float, timeout_s: float) -> bool:
        """Return whether enough of a call's time is over to hedge it for being late."""
        return elapsed_s >= timeout_s * _LATE_SHARE * _SLACK

    def is_silence(self, waited_s: float, elapsed_s: float, timeout_s: float) -> bool:
        """Return whether a wait is long enough to be silence, provided that the instance has answered no other call.

        Args:
            waited_s: Seconds since the last attempt of the call was sent.
            elapsed_s: Seconds since the call began.
            timeout_s: Seconds that the call has in all.
        """
        if self.quick_s is not None and waited_s >= self.quick_s * _SLACK:
            return True
        if waited_s < timeout_s * LOOK_SHARE * _SLACK or not self.is_half_over(elapsed_s, timeout_s):
            return False
        # Too few answers are known, or an outage has just raised the percentile: the last answer decides.
        return self._usual_s is None or min(self._usual_s, self._last_s) <= timeout_s * USUAL_SHARE

    def next_s(self, timeout_s: float) -> float:
        """Return the seconds after an attempt at which a call is checked for another, when its instances are silent."""
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
    """Round up to two significant digits, so that the deadlines of many calls share few queues (`net.deadlines`)."""
    unit = 10.0 ** (floor(log10(max(seconds, 1e-4))) - 1)
    return ceil(seconds / unit) * unit
