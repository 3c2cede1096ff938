"""`ConcurrencyLimiter`, which limits the concurrent calls of a crawl, and rejects new calls when the crawl is stopped.

Scrapy's `CONCURRENT_ITEMS` limits the items of one response only, so a crawl with many responses needs this limit.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime


class CrawlStopped(Exception):
    """The crawl was stopped before the call began."""


class ConcurrencyLimiter:
    """Runs asynchronous functions with a limit on their number; further functions wait in a first-in, first-out queue.

    Args:
        clock: The reactor's clock.
        limit: The maximum number of functions that run at the same time, ≥ 1.

    Attributes:
        in_flight: The number of functions that run at the moment.
        peak: The largest value of `in_flight` so far.
    """

    def __init__(self, clock: IReactorTime, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._waiting: deque[Deferred[None]] = deque()
        self._closes_at: float | None = None
        self._released = 0
        self.in_flight = 0
        self.peak = 0

    @property
    def remaining_s(self) -> float | None:
        """The seconds until the limiter closes; `None` if `close_after` was not called."""
        return None if self._closes_at is None else self._closes_at - self._clock.seconds()

    @property
    def is_busy(self) -> bool:
        """Whether a function runs or waits."""
        return bool(self.in_flight or self._waiting)

    def close_after(self, delay_s: float) -> None:
        """Reject functions that would start later than `delay_s` seconds from now; a second call has no effect."""
        if self._closes_at is None:
            self._closes_at = self._clock.seconds() + delay_s

    async def run(self, work: Callable[[], Deferred[Any]]) -> Any:
        """Run a function when the limit allows, and return the result of its Deferred.

        Args:
            work: The function, which returns a Deferred.

        Raises:
            CrawlStopped: The limiter closed before the function could run.
            Exception: Any exception that `work` raises or that its Deferred fails with.
        """
        if self.in_flight >= self._limit:
            turn: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(turn)
            await turn  # the slot of the function that ended is reused, so `in_flight` does not change
        else:
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
        try:
            if self._closes_at is not None and self._clock.seconds() >= self._closes_at:
                raise CrawlStopped("the crawl was stopped, and its time to finish is over")
            return await maybeDeferred(work)
        finally:
            self._release()

    def _release(self) -> None:
        """Give the slot of a function that has ended to the next one, or free it.

        A function may end immediately, for example because the limiter is closed. Its slot is passed on by the loop of
        the outer call, because a recursion could be as deep as the number of waiting functions.
        """
        self._released += 1
        if self._released > 1:
            return
        while self._released:
            if self._waiting:
                self._waiting.popleft().callback(None)
            else:
                self.in_flight -= 1
            self._released -= 1
