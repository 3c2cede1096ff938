"""Deferreds that wait for the first usable list, each with a separate timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime


class ReadyWaiters:
    """Deferreds that fire together, or fail separately after their timeouts."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiters: dict[Deferred[None], IDelayedCall | None] = {}

    def wait(self, timeout_s: float | None, late: Callable[[], Exception]) -> Deferred[None]:
        """Wait for `release`.

        Args:
            timeout_s: The time in seconds after which the wait fails; `None` for no limit.
            late: A function that returns the error of a wait that has timed out.
        """
        waiter: Deferred[None] = Deferred(self._leave)
        timer = None if timeout_s is None else self._clock.callLater(timeout_s, self._expire, waiter, late)
        self._waiters[waiter] = timer
        return waiter

    def release(self, error: Exception | None = None) -> None:
        """Fire all waiting Deferreds, or fail them with `error` if it is not `None`."""
        for waiter in list(self._waiters):
            if waiter not in self._waiters:  # cancelled by the callback of an earlier one
                continue
            self._leave(waiter)
            if error is None:
                waiter.callback(None)
            else:
                waiter.errback(error)

    def _leave(self, waiter: Deferred[None]) -> None:
        timer = self._waiters.pop(waiter, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _expire(self, waiter: Deferred[None], late: Callable[[], Exception]) -> None:
        self._leave(waiter)
        waiter.errback(late())
