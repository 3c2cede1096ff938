"""Slow start: the weight of a new instance grows step by step.

A new instance has cold caches, and may have to compile its models on the first requests.

The weight grows in steps from a tenth to the whole over the window (Envoy's slow start with aggression 1 and its
minimum of 10 %). Instances of the first list start with their whole weight, because no other instance could take the
rest of the load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Key = tuple[str, int]

# The first step is Envoy's minimum of 10 %. More steps would cost more, because each updates the balancer.
STEPS = 10


class SlowStart:
    """Tracks the instances that are in slow start, and computes their shares.

    Args:
        window_s: Length of the slow start in seconds; 0 for none.

    Attributes:
        next_step: The time at which the next share changes, in seconds of the caller's clock; `None` when no instance
            is in slow start.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._began: dict[Key, float] = {}
        self.next_step: float | None = None

    def begin(self, keys: Iterable[Key], now: float) -> None:
        """Start the slow start of instances that are new, back after an ejection, or no longer of weight 0."""
        if self._window_s > 0:
            for key in keys:
                self._began[key] = now
            self._schedule(now)

    def forget(self, keys: Iterable[Key]) -> None:
        """Drop instances that left the list, or whose weight has become 0."""
        for key in keys:
            self._began.pop(key, None)

    def shares(self, now: float) -> dict[Key, float]:
        """Return the share of its weight, 0.1–1, of each instance in slow start."""
        # Instances that one list added began at the same time, so even thousands of instances have few different
        # shares.
        share_of = {began: self._share(began, now) for began in set(self._began.values())}
        return {key: share_of[began] for key, began in self._began.items()}

    def due(self, now: float) -> tuple[Key, ...]:
        """Return all instances in slow start at the end of a step; remove those that have their whole weight."""
        if self.next_step is None or now < self.next_step:
            return ()
        changed = tuple(self._began)
        for key in [key for key, began in self._began.items() if now - began >= self._window_s]:
            del self._began[key]
        self._schedule(now)
        return changed

    def _share(self, began: float, now: float) -> float:
        step = int((now - began) / self._window_s * STEPS)
        return min(max(step, 1), STEPS) / STEPS

    def _schedule(self, now: float) -> None:
        self.next_step = now + self._window_s / STEPS if self._began else None
