"""When a call that has no answer yet is sent to another instance, too.

After a fixed delay, or after most would be back: the tail at scale (Dean and Barroso, CACM 2013), where a second
request after the 95th percentile costs 5 % more load and cuts the tail.

When it is *late*: half of its time is over, or three quarters, and nobody it was sent to has said anything for at
least an eighth of it, although an eighth is more than most answers take. Where answers usually take long (a language
model thinks for a minute) silence says nothing, and no call is late.

And when its instance is *silent*: the call has waited for three times as long as 99 of 100 answers take, and the
instance has said nothing to any other call in that time. That is asked first when a sixteenth of the call's time is
over; from the first silent instance on, until the last one has spoken, every call is asked after those three times.
Where the load is high a slow call is therefore no silent instance (it answers others), and where everything turns slow
three slow answers of the last 256 end it. When half of a call's time is over, a service of which nothing is known, or
whose last answer took less than an eighth of that time, is judged by a sixteenth.

Only that is decided here; the retry budget bounds hedges like retries.
"""

from __future__ import annotations

from collections import deque
from math import ceil, floor, log10
from typing import Literal

P95, P99 = 0.95, 0.99
WINDOW = 256
"""Answers that the percentiles are taken of."""
HEDGE_POINTS = (0.0625, 0.125, 0.25, 0.5, 0.75)
"""Shares of a call's time after which it is looked at; the last leaves a quarter for the answer."""
LOOK_SHARE = HEDGE_POINTS[0]
"""Of a call's time: so often a call is looked at whose instance is silent, and which could go nowhere."""
USUAL_SHARE = 0.125
"""Of a call's time: silence for so long is a sign where most answers take less."""
_LATE_SHARE = 0.5
_EVERY = 32
_FEW = 8
"""With fewer answers the longest of them says too little about the next one."""
_TIMES = 3.0
_LEAST_QUICK_S = 0.025
"""Below this a pause of either process (a collection of garbage, a busy machine) looks like silence."""
_SLACK = 0.999
"""Timers may be early by the rounding of a float."""


class Hedging:
    """The delay of hedges, who is late, and what is silence.

    Args:
        after: Seconds; `"p95"` for the running 95th percentile of latencies; `"late"` for late and silent calls only;
            `None` for one instance at a time.

    Attributes:
        delay_s: How long after its beginning a call is looked at, or hedged; `None` for not at all.
        quick_s: The silence that is no usual latency; `None` while too few answers are known.
        hedge_points: Shares of a call's time after which it is looked at.
        is_learning: Whether it wants to know how long answers take.
        is_unasked: Whether `delay_s` hedges a call whatever its instance does.
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
        """A call was answered after so long; of interest when `is_learning`."""
        self._latencies.append(latency_s)
        self._last_s = latency_s
        self._fresh += 1
        if self._fresh >= _EVERY or len(self._latencies) < _EVERY:
            self._learn()

    def set_wary(self, *, is_wary: bool) -> None:
        """Learn whether an instance is known, or suspected, to be silent."""
        self._is_wary = is_wary
        if not self.is_unasked:
            self.delay_s = self.quick_s if is_wary else None

    def is_late(self, waited_s: float, timeout_s: float) -> bool:
        """Whether a call that has `timeout_s` in all and has heard nothing for `waited_s` is late."""
        return self._usual_s is not None and self._usual_s <= timeout_s * USUAL_SHARE <= waited_s

    def is_half_over(self, elapsed_s: float, timeout_s: float) -> bool:
        """Whether so much of a call's time is over that it is hedged for being late."""
        return elapsed_s >= timeout_s * _LATE_SHARE * _SLACK

    def is_silence(self, waited_s: float, elapsed_s: float, timeout_s: float) -> bool:
        """Whether so long a wait is silence, if the instance has said nothing to others either.

        Args:
            waited_s: Since the last attempt of the call was sent.
            elapsed_s: Since the call began.
            timeout_s: What the call has in all.
        """
        if self.quick_s is not None and waited_s >= self.quick_s * _SLACK:
            return True
        if waited_s < timeout_s * LOOK_SHARE * _SLACK or not self.is_half_over(elapsed_s, timeout_s):
            return False
        # Little is known of the service, or what is usual has just been spoilt by an outage: the last answer tells.
        return self._usual_s is None or min(self._usual_s, self._last_s) <= timeout_s * USUAL_SHARE

    def next_s(self, timeout_s: float) -> float:
        """How long after one attempt a call is looked at for another, when those before it are silent."""
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
    """Up to two digits, so that the deadlines of many calls share few queues."""
    unit = 10.0 ** (floor(log10(max(seconds, 1e-4))) - 1)
    return ceil(seconds / unit) * unit
