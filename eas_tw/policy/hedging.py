"""When a call that has no answer yet is sent to another instance, too.

After a fixed delay, or after most would be back: the tail at scale (Dean and Barroso, CACM 2013), where a second
request after the 95th percentile costs 5 % more load and cuts the tail.

And when it is late: half of its time is over, or three quarters, and nobody it was sent to has said anything for at
least an eighth of it, although an eighth is more than most answers take. Then whoever has it is probably gone without a
word, and a second chance costs little, since calls like that are rare while all is well. Where answers usually take
long (a language model thinks for a minute) silence says nothing, and no call is late.

Only that is decided here; the retry budget bounds hedges like retries.
"""

from __future__ import annotations

from collections import deque
from math import ceil, floor, log10
from typing import Literal

P95 = 0.95
WINDOW = 256
"""Answers that the percentile is taken of."""
MARKS = (0.5, 0.75)
"""Shares of a call's time after which it may be late; the last leaves a quarter for the answer."""
_EVERY = 32
_USUAL_SHARE = 0.125


class Hedging:
    """The delay of hedges, and who is late.

    Args:
        after: Seconds; `"p95"` for the running 95th percentile of latencies; `"late"` for late calls only; `None` for
            one instance at a time.

    Attributes:
        delay_s: How long after its beginning a call is hedged; `None` for not yet, or not at all.
        marks: Shares of a call's time after which it is asked whether it is late.
        is_learning: Whether it wants to know how long answers take.
    """

    def __init__(self, after: float | Literal["p95", "late"] | None) -> None:
        self.delay_s = None if isinstance(after, str) else after
        self.is_learning = after is not None
        self.marks = MARKS if after is not None else ()
        self._follows_p95 = after == "p95"
        self._usual_s: float | None = None
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._fresh = 0

    def observe(self, latency_s: float) -> None:
        """A call was answered after so long; of interest when `is_learning`."""
        self._latencies.append(latency_s)
        self._fresh += 1
        if self._fresh >= _EVERY or len(self._latencies) < _EVERY:
            self._learn()

    def is_late(self, waited_s: float, timeout_s: float) -> bool:
        """Whether a call that has `timeout_s` in all and has heard nothing for `waited_s` has a silent instance."""
        return self._usual_s is not None and self._usual_s <= timeout_s * _USUAL_SHARE <= waited_s

    def _learn(self) -> None:
        ranked = sorted(self._latencies)
        self._usual_s = ranked[ceil(P95 * len(ranked)) - 1]
        if self._fresh >= _EVERY:
            self._fresh = 0
            if self._follows_p95:
                self.delay_s = _rounded(self._usual_s)


def _rounded(seconds: float) -> float:
    """Up to two digits, so that the deadlines of many calls share few queues."""
    unit = 10.0 ** (floor(log10(max(seconds, 1e-4))) - 1)
    return ceil(seconds / unit) * unit
