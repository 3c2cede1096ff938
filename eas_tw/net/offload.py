"""Compression, decompression and hashing of large bodies outside the turns of the reactor.

The work is a generator that yields between steps. If the reactor supports threads, the steps run in a thread: zlib,
cramjam and OpenSSL release the interpreter's lock, so the reactor continues meanwhile. Otherwise (in tests, and in the
simulation with its virtual time) one step runs in each turn of the reactor. The reactor's own thread pool is not used,
because the program may occupy all its threads, and a call has a deadline.
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
"""Maximum number of threads.

More threads would rarely be faster, and each thread may use twice `max_response_bytes` of memory when it joins the
parts of a body.
"""


class Unfinished(Generic[T]):
    """A result whose computation takes more steps than one turn of the reactor allows.

    Attributes:
        work: A Deferred that fires with the result of the steps; cancelling it stops them.
        then: A function that converts the result of the steps to the final result.
    """

    __slots__ = ("then", "work")

    def __init__(self, work: Deferred[T], then: Callable[[T], Any]) -> None:
        self.work = work
        self.then = then


class _OffloadJob:
    """A generator of steps, with the Deferred of its result."""

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
        """Run one step; after the last one, return a function that fires `done` with the result."""
        try:
            next(self.steps)
        except StopIteration as ended:
            return partial(self.done.callback, ended.value)
        except Exception:  # noqa: BLE001  the exception is the result of the work
            return partial(self.done.errback, Failure())
        return None


class Offload:
    """Runs steps in threads or in turns of the reactor.

    Args:
        reactor: If it has `IReactorFromThreads`, the steps run in threads, otherwise in turns of the reactor.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor: Any = reactor
        self._has_threads = IReactorFromThreads.providedBy(reactor)
        self._waiting: deque[_OffloadJob] = deque()
        self._threads = 0

    def run(self, steps: Generator[None, None, T]) -> Deferred[T]:
        """Run the remaining steps.

        Returns:
            A Deferred that fires with the return value of the generator, or fails with its exception, in the reactor's
            thread. Cancelling it stops the work after the running step.
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
        except RuntimeError:  # the process cannot start another thread
            self._turn(job)
        else:
            self._threads += 1

    def _work(self, job: _OffloadJob) -> None:
        """Run all steps; called in a new thread."""
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
        """Run one step; called in a turn of the reactor."""
        job.turn = None
        tell = job.step()
        if tell is None:
            self._turn(job)
        else:
            tell()
