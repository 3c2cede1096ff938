"""A reactor that schedules by a wall clock, as Twisted's reactors do, and has a separate monotonic clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eas_tw.net.monotonic import MonotonicReactor
from tests.net.fleet import PuppetReactor


class WallClockReactor(PuppetReactor):
    """Schedules by a wall clock that the test can step; `elapsed` is the monotonic time."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1_000_000.0
        self._elapsed = 0.0

    def elapsed(self) -> float:
        return self._elapsed

    def step(self, by_s: float) -> None:
        """Step the wall clock. The monotonic time does not change."""
        self.rightNow += by_s
        self.sort()

    def sort(self) -> None:
        self.advance(0)

    def pass_time(self, seconds: float) -> None:
        """Advance both clocks in steps of 10 ms."""
        for _ in range(round(seconds * 100)):
            self._elapsed += 0.01
            self.advance(0.01)

    def callFromThread(self, act: Callable[..., Any], *arguments: Any) -> None:  # noqa: N802
        act(*arguments)


def stepping() -> tuple[WallClockReactor, MonotonicReactor]:
    reactor = WallClockReactor()
    return reactor, MonotonicReactor(reactor, reactor.elapsed)
