"""Long work, apart from the turns of the reactor: compressing and decompressing large bodies.

The work comes in steps, as a generator that yields between them. Where the reactor has threads the steps run in one:
zlib and cramjam release the interpreter's lock, so the reactor goes on meanwhile. Elsewhere (in tests and in the
simulation, whose time is virtual) each step takes a turn of the reactor. The threads are not those of the reactor's
pool: a program may keep all of those busy, and a call has a deadline.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.net.pool import Reactor

T = TypeVar("T")

_MOST_THREADS = 4
"""More would not be faster on most machines, and each may hold `max_response_bytes` twice while it joins its parts."""


class Unfinished(Generic[T]):
    """What a function returns whose result takes more steps than one turn of the reactor has time for.

    Attributes:
        work: Fires with the result of the steps; cancelling it stops them.
        then: Makes the function's result of that.
    """

    __slots__ = ("then", "work")

    def __init__(self, work: Deferred[T], then: Callable[[T], Any]) -> None:
        self.work = work
        self.then = then


class _OffloadJob:
    """Steps, and whoever waits for their result."""

    __slots__ = ("done", "is_cancelled", "steps", "turn")

    def __init__(self, steps: Generator[None, None, Any]) -> None:
        self.steps = steps
        self.done: Deferred[Any] = Deferred(self._cancel)
        self.is_cancelled = False
        self.turn: IDelayedCall | None = None

    def _cancel(self, _: Deferred[Any]) -> None:
        self.is_cancelled = True
        if self.turn is not None:
            self.turn.cancel()

    def step(self) -> Callable[[], None] | None:
        """Do one step; how to tell the result to `done`, if that was the last."""
        try:
            next(self.steps)
        except StopIteration as ended:
            return partial(self.done.callback, ended.value)
        except Exception:  # noqa: BLE001  it is the work's result
            return partial(self.done.errback, Failure())
        return None


class Offload:
    """Runs steps.

    Args:
        reactor: Its threads are used if it has any, its turns otherwise.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor: Any = reactor
        self._has_threads = IReactorFromThreads.providedBy(reactor)
        self._waiting: deque[_OffloadJob] = deque()
        self._threads = 0

    def run(self, steps: Generator[None, None, T]) -> Deferred[T]:
        """Run the rest of the steps.

        Returns:
            Fires with what the steps return, or fails with what they raise, in the reactor's thread. Cancelling it
            stops them after the step that runs.
        """
        job = _OffloadJob(steps)
        if not self._has_threads:
            self._turn(job)
        elif self._threads < _MOST_THREADS:
            self._start(job)
        else:
            self._waiting.append(job)
        return job.done

    def _start(self, job: _OffloadJob) -> None:
        try:
            Thread(target=self._work, args=(job,), name="eas_tw.offload", daemon=True).start()
        except RuntimeError:  # the process has no thread left
            self._turn(job)
        else:
            self._threads += 1

    def _work(self, job: _OffloadJob) -> None:
        """In a thread of its own: all steps."""
        tell = None
        while tell is None and not job.is_cancelled:
            tell = job.step()
        self._reactor.callFromThread(self._ended, job, tell)

    def _ended(self, job: _OffloadJob, tell: Callable[[], None] | None) -> None:
        self._threads -= 1
        while self._waiting and self._threads < _MOST_THREADS:
            waiting = self._waiting.popleft()
            if not waiting.is_cancelled:
                self._start(waiting)
        if tell is not None and not job.is_cancelled:
            tell()

    def _turn(self, job: _OffloadJob) -> None:
        job.turn = self._reactor.callLater(0, self._step, job)

    def _step(self, job: _OffloadJob) -> None:
        """In a turn of the reactor: one step."""
        job.turn = None
        tell = job.step()
        if tell is None:
            self._turn(job)
        else:
            tell()
