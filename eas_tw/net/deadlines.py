"""Deadlines of many calls on few timers.

Almost all calls of a client share one timeout, so their deadlines pass in the order in which they were set: a queue and
one timer per distinct duration do what a timer per call would, at the price of one dictionary entry. (A `callLater` and
its `cancel` cost about as much as the whole weighted pick.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

Who = TypeVar("Who")


class _Queue(Generic[Who]):
    """The deadlines of one duration, in the order in which they pass."""

    __slots__ = ("pending", "timer")

    def __init__(self) -> None:
        self.pending: dict[Who, float] = {}
        self.timer: IDelayedCall | None = None


class Deadlines(Generic[Who]):
    """Tells of everything that is still pending when its time has come.

    Args:
        clock: Whose seconds count.
        expire: Called with each one whose deadline has passed.
    """

    def __init__(self, clock: IReactorTime, expire: Callable[[Who], None]) -> None:
        self._clock = clock
        self._expire = expire
        self._queues: dict[float, _Queue[Who]] = {}

    def __bool__(self) -> bool:
        """Whether anything is pending."""
        return any(queue.pending for queue in self._queues.values())

    def __iter__(self) -> Iterator[Who]:
        """Everything pending."""
        for queue in list(self._queues.values()):
            yield from list(queue.pending)

    def set(self, who: Who, now: float, after_s: float) -> None:
        """Let `who` expire at `now + after_s`; `now` is the clock's time."""
        queue = self._queues.get(after_s)
        if queue is None:
            queue = self._queues[after_s] = _Queue()
            queue.timer = self._clock.callLater(after_s, self._sweep, after_s, queue)
        queue.pending[who] = now + after_s

    def clear(self, who: Who, after_s: float) -> None:
        """Forget `who`'s deadline, set before with the same `after_s`; none is fine too."""
        queue = self._queues.get(after_s)
        if queue is not None:
            queue.pending.pop(who, None)

    def stop(self) -> None:
        """Forget everything and cancel the timers."""
        for queue in self._queues.values():
            if queue.timer is not None and queue.timer.active():
                queue.timer.cancel()
        self._queues.clear()

    def _sweep(self, after_s: float, queue: _Queue[Who]) -> None:
        # It has this queue among its arguments: without the circle both are gone at once, and need no collector.
        queue.timer = None
        now = self._clock.seconds()
        while queue.pending:
            who, due = next(iter(queue.pending.items()))
            if due > now:
                queue.timer = self._clock.callLater(due - now, self._sweep, after_s, queue)
                return
            del queue.pending[who]
            self._expire(who)
        if self._queues.get(after_s) is queue:
            del self._queues[after_s]
