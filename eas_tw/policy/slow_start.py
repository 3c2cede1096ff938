"""New instances get their share little by little: caches are cold, models compile on their first requests.

Weight grows in steps from a tenth to the whole over the window (Envoy's slow start with aggression 1 and its minimum
of 10 %). Instances of the first list start with their whole share, since nobody else could take it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Key = tuple[str, int]

STEPS = 10


class SlowStart:
    """Who is still warming up.

    Args:
        window_s: How long it takes; 0 for no slow start.

    Attributes:
        next_step: When the next share changes; `None` when nobody is warming up.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._began: dict[Key, float] = {}
        self.next_step: float | None = None

    def begin(self, keys: Iterable[Key], now: float) -> None:
        """These are new, or back after an ejection."""
        if self._window_s > 0:
            for key in keys:
                self._began[key] = now
            self._schedule(now)

    def forget(self, keys: Iterable[Key]) -> None:
        """These left the list."""
        for key in keys:
            self._began.pop(key, None)

    def shares(self, now: float) -> dict[Key, float]:
        """The share of its weight that each of those who are warming up gets, 0.1–1."""
        return {key: self._share(began, now) for key, began in self._began.items()}

    def due(self, now: float) -> tuple[Key, ...]:
        """Those whose share has changed since the last time; each is done when its share is whole."""
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
