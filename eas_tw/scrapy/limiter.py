"""At most so many calls at a time, and none that could hold up the end of a crawl.

`CONCURRENT_ITEMS` bounds the items of one response only; this bounds those of the whole crawl.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime


class CrawlStopped(Exception):
    """The crawl was stopped before the call could begin."""


class ConcurrencyLimiter:
    """Lets calls through.

    Args:
        clock: The reactor.
        limit: How many at a time.

    Attributes:
        in_flight: How many are through at the moment.
        peak: The most there have been.
    """

    def __init__(self, clock: IReactorTime, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._waiting: deque[Deferred[None]] = deque()
        self._closes_at: float | None = None
        self.in_flight = 0
        self.peak = 0

    @property
    def remaining_s(self) -> float | None:
        """Seconds until nothing gets through any more; `None` while there is no end."""
        return None if self._closes_at is None else self._closes_at - self._clock.seconds()

    @property
    def is_busy(self) -> bool:
        """Whether anybody is through, or waits."""
        return bool(self.in_flight or self._waiting)

    def close_after(self, delay_s: float) -> None:
        """Let nothing through after `delay_s`; the first such word counts."""
        if self._closes_at is None:
            self._closes_at = self._clock.seconds() + delay_s

    async def run(self, work: Callable[[], Deferred[Any]]) -> Any:
        """What comes of `work`, begun when its turn has come.

        Raises:
            CrawlStopped: Its turn came too late.
        """
        if self.in_flight >= self._limit:
            turn: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(turn)
            await turn  # and the place of the one that has left
        else:
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
        try:
            if self._closes_at is not None and self._clock.seconds() >= self._closes_at:
                raise CrawlStopped("the crawl was stopped, and its time to finish is over")
            return await maybeDeferred(work)
        finally:
            if self._waiting:
                self._waiting.popleft().callback(None)
            else:
                self.in_flight -= 1
