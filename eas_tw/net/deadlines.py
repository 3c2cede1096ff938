"""Deadlines of many calls with few timers.

Almost all calls of a client have the same timeout, so their deadlines pass in the order in which they were set. One
queue and one timer for each distinct duration replace a timer for each call, and a deadline costs only a dictionary
entry. (A `callLater` and its `cancel` cost about as much as the whole weighted pick.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

Who = TypeVar("Who")

_TICK_S = 1e-6
"""Minimum wait in seconds, greater than the rounding error of float sums.

After a shorter wait the time could be unchanged, and the timer would be set again endlessly.
"""
_QUEUES_KEPT = 64
"""The number of queues at which empty queues are dropped."""


class _Queue(Generic[Who]):
    """The pending entries of one duration, in stages by the share of the duration that has elapsed.

    Each stage is ordered by start time.
    """

    __slots__ = ("first", "later", "timer")

    def __init__(self, stages: int) -> None:
        self.first: dict[Who, float] = {}
        self.later: tuple[dict[Who, float], ...] = tuple({} for _ in range(stages - 1))
        self.timer: IDelayedCall | None = None

    @property
    def stages(self) -> tuple[dict[Who, float], ...]:
        """The stages from the first to the last; each maps an entry to the time at which it began."""
        return (self.first, *self.later)


class Deadlines(Generic[Who]):
    """Calls `expire` for every entry that is still pending at its deadline.

    Args:
        clock: The reactor whose seconds are used.
        expire: Called with each entry whose deadline has passed. An exception is logged, and does not affect the next
            entries.
        stages: Shares of the time to the deadline, ascending, between 0 and 1.
        on_mark: Called with each entry that is still pending when one of the `stages` has elapsed; `None` to call
            `expire`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        expire: Callable[[Who], None],
        stages: tuple[float, ...] = (),
        on_mark: Callable[[Who], None] | None = None,
    ) -> None:
        self._clock = clock
        self._expire = expire
        self._on_mark = on_mark or expire
        self._shares = (*stages, 1.0)
        self._queues: dict[float, _Queue[Who]] = {}
        self._purge_at = _QUEUES_KEPT

    def __bool__(self) -> bool:
        """Return whether any entry is pending."""
        return any(stage for queue in self._queues.values() for stage in queue.stages)

    def __iter__(self) -> Iterator[Who]:
        """Iterate over all pending entries."""
        for queue in list(self._queues.values()):
            for stage in reversed(queue.stages):
                yield from list(stage)

    def set(self, who: Who, now: float, after_s: float) -> None:
        """Set the deadline of `who` to `now + after_s`; `now` is the clock's time."""
        queue = self._queues.get(after_s)
        if queue is None:
            if len(self._queues) >= self._purge_at:
                self._purge()
            queue = _Queue(len(self._shares))
            queue.timer = self._clock.callLater(self._shares[0] * after_s, self._sweep, after_s, queue)
            # The queue is stored last, because entries of a queue without a timer would never expire.
            self._queues[after_s] = queue
        queue.first[who] = now

    def clear(self, who: Who, after_s: float) -> None:
        """Remove the deadline of `who`, if there is one; `after_s` must be the value that was passed to `set`."""
        queue = self._queues.get(after_s)
        if queue is not None and queue.first.pop(who, None) is None:
            for stage in queue.later:
                stage.pop(who, None)

    def stop(self) -> None:
        """Remove all entries and cancel the timers."""
        for queue in self._queues.values():
            if queue.timer is not None and queue.timer.active():
                queue.timer.cancel()
            for stage in queue.stages:
                stage.clear()
        self._queues.clear()

    def _purge(self) -> None:
        """Drop the queues that are empty.

        If each call of a program has a different timeout (such as `deadline - now`), each call creates a queue. Without
        this method the queue and its timer would remain until the timeout has passed, although the call has ended.
        """
        for after_s, queue in list(self._queues.items()):
            if not any(queue.stages):
                if queue.timer is not None and queue.timer.active():
                    queue.timer.cancel()
                del self._queues[after_s]
        self._purge_at = max(_QUEUES_KEPT, 2 * len(self._queues))

    def _sweep(self, after_s: float, queue: _Queue[Who]) -> None:
        # The queue is an argument of its timer. This line breaks the reference cycle, so that both are freed without
        # the garbage collector.
        queue.timer = None
        now = self._clock.seconds()
        stages = queue.stages
        for number in reversed(range(len(stages))):
            self._advance(stages[number], stages[number + 1 : number + 2], self._shares[number] * after_s, after_s, now)
        if self._queues.get(after_s) is not queue:
            return
        next_s = [
            next(iter(stage.values())) + share * after_s
            for stage, share in zip(stages, self._shares, strict=True)
            if stage
        ]
        if next_s:
            queue.timer = self._clock.callLater(max(_TICK_S, min(next_s) - now), self._sweep, after_s, queue)
        else:
            del self._queues[after_s]

    def _advance(
        self,
        stage: dict[Who, float],
        following: tuple[dict[Who, float], ...],
        mark_s: float,
        after_s: float,
        now: float,
    ) -> None:
        """Move the entries whose stage has ended to the next stage; expire the entries whose deadline has passed."""
        while stage:
            who, began = next(iter(stage.items()))
            if began + mark_s > now:
                return
            del stage[who]
            serve = self._expire
            if following and began + after_s > now:
                following[0][who] = began
                serve = self._on_mark
            try:
                serve(who)
            except BaseException:  # noqa: BLE001  the other entries use the same timer, and must expire, too
                contain(self._clock.callLater, "a deadline could not be served")
