"""A reactor that runs for programs that have none: in a thread of its own, shared by all blocking clients.

The reactor is a private one, not `twisted.internet.reactor`: a program may still run that itself. The thread starts
with the first call, ends with the interpreter, and does not outlive a fork: a forked child, which has no such thread,
starts its own (see `own_loop`). Owns threads and their meeting; knows nothing of requests.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time  # noqa: TID251  the reactor is made here
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from eas_tw import ClientClosed
from eas_tw.lookup import ThreadResolver
from eas_tw.telemetry.stdlib_logging import forward_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

T = TypeVar("T")

_STOP_WITHIN_S = 5.0
_SLEEPS_AT_MOST_S = 1.0


class _LoopJob(Generic[T]):
    """Something to do in the reactor's thread, and a thread that waits for what comes of it."""

    __slots__ = ("_done", "_error", "_is_cancelled", "_result", "_running", "_work")

    def __init__(self, work: Callable[[], Deferred[T]]) -> None:
        self._work = work
        self._running: Deferred[T] | None = None
        self._is_cancelled = False
        self._result: Any = None
        self._error: BaseException | None = None
        # A bare lock: it costs a tenth of an Event or a Future.
        self._done = threading.Lock()
        self._done.acquire()

    def start(self) -> Deferred[Any]:
        self._running = running = maybeDeferred(self._work)
        running.addCallbacks(self._succeeded, self._failed)
        if self._is_cancelled:
            running.cancel()
        return running

    def cancel(self) -> None:
        self._is_cancelled = True
        if self._running is not None:
            self._running.cancel()

    def wait(self) -> None:
        # Looking up now and then: a signal that comes just before the thread falls asleep does not wake it.
        while not self._done.acquire(timeout=_SLEEPS_AT_MOST_S):
            pass

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[no-any-return]

    def give_up(self, error: Exception) -> None:
        """The reactor has stopped; nothing will come any more."""
        self._error = error
        with contextlib.suppress(RuntimeError):  # it was over already
            self._done.release()

    def _succeeded(self, result: T) -> None:
        self._result = result
        self._done.release()

    def _failed(self, failure: Failure) -> None:
        # Its frames belong to the reactor's thread, and end here.
        error: BaseException = failure.value  # type: ignore[assignment]  # a Failure has one
        self._error = error.with_traceback(None)
        self._done.release()


class Loop:
    """A running reactor, and the way into it from other threads.

    Args:
        reactor: One that runs in another thread already.

    Attributes:
        lock: For what must be done once a loop.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.lock = threading.Lock()
        self._forks = _forks
        self._thread_id = 0
        self._queue: deque[_LoopJob[Any]] = deque()
        self._jobs: set[_LoopJob[Any]] = set()
        self._is_woken = False
        self._is_over = False
        reactor.callFromThread(self._begin)

    def run(self, work: Callable[[], Deferred[T]]) -> T:
        """Do `work` in the reactor's thread, and wait for what its Deferred fires with.

        Raises:
            RuntimeError: This is the reactor's thread, which would wait for itself; or a forked process, which does not
                have that thread.
            ClientClosed: The reactor has stopped.
        """
        if threading.get_ident() == self._thread_id:
            raise RuntimeError(
                "a blocking call in the reactor's own thread would wait for itself: use eas_tw.PredictClient there"
            )
        if self._forks != _forks:
            raise RuntimeError(
                "this client uses a reactor that runs in the parent process only: make a client in each process, or "
                "leave out reactor="
            )
        job = _LoopJob(work)
        try:
            self._queue.append(job)
            # Many threads, one wake-up: the reactor takes all that is queued. A wake-up too many does no harm.
            if not self._is_woken:
                self._is_woken = True
                self.reactor.callFromThread(self._take)
            if self._is_over:
                self._end()
            job.wait()
        except BaseException:  # Ctrl-C, at any moment from here on
            self.reactor.callFromThread(self._withdraw, job)
            raise
        return job.result()

    def _begin(self) -> None:
        self._thread_id = threading.get_ident()
        self.reactor.addSystemEventTrigger("during", "shutdown", self._end)

    def _take(self) -> None:
        self._is_woken = False
        queue = self._queue
        while queue:
            job = queue.popleft()
            self._jobs.add(job)
            job.start().addBoth(self._over, job)

    def _withdraw(self, job: _LoopJob[Any]) -> None:
        job.cancel()
        # Whoever was interrupted may have been about to see to this.
        self._take()

    def _over(self, _: object, job: _LoopJob[Any]) -> None:
        self._jobs.discard(job)

    def _end(self) -> None:
        self._is_over = True
        for job in [*self._queue, *self._jobs]:
            job.give_up(ClientClosed("the reactor has stopped"))


class OwnLoop(Loop):
    """A loop with a reactor and a thread of its own, which starts with the first work."""

    def __init__(self) -> None:
        reactor = _new_reactor()
        # Which thread does I/O is one note for the whole process (`twisted.python.threadable`), and it is not about us.
        reactor._registerAsIOThread = False  # noqa: SLF001
        # Twisted's own choice, `time.time`, holds up every timer for as long as it has been set back.
        reactor.seconds = time.monotonic
        # Twisted's own threads are waited for at exit, as long as a name server is silent.
        reactor.installNameResolver(ThreadResolver(reactor))
        super().__init__(reactor)
        self._thread: threading.Thread | None = None
        self._is_exiting = False

    def run(self, work: Callable[[], Deferred[T]]) -> T:
        """Do `work` in the reactor's thread, as `Loop.run`."""
        if self._thread is None:
            with self.lock:
                if self._thread is None:
                    self._thread = self._started()
        try:
            return super().run(work)
        except ClientClosed:
            if self._is_exiting and threading.current_thread().daemon:
                # The interpreter is about to freeze this thread. An exception would be printed before that happens.
                threading.Event().wait()
            raise

    def stop(self) -> None:
        """Stop the reactor and wait for its thread, at the interpreter's exit."""
        self._is_exiting = True
        if self._thread is not None:
            self.reactor.callFromThread(self.reactor.stop)
            self._thread.join(_STOP_WITHIN_S)

    def _started(self) -> threading.Thread:
        forward_logs()
        arguments = {"installSignalHandlers": False}
        thread = threading.Thread(target=self.reactor.run, kwargs=arguments, name="eas_tw.blocking", daemon=True)
        thread.start()
        return thread


_forks = 0
_lock = threading.Lock()
_own: OwnLoop | None = None
_left_behind: list[OwnLoop] = []
"""Loops of parent processes. Kept, since closing what they hold could disturb a parent that shares the sockets."""


def own_loop() -> OwnLoop:
    """The loop of this process, made on first use."""
    global _own  # noqa: PLW0603  one thread per process is the point
    if _own is not None:
        return _own
    with _lock:
        if _own is None:
            _own = OwnLoop()
        return _own


def _forget() -> None:
    """In a forked child: the reactor's thread stayed with the parent, and so may have whoever held the lock."""
    global _forks, _lock, _own  # noqa: PLW0603
    _forks += 1
    _lock = threading.Lock()
    if _own is not None:
        _left_behind.append(_own)
        _own = None


def _stop() -> None:
    """At the interpreter's exit."""
    if _own is not None:
        _own.stop()


os.register_at_fork(after_in_child=_forget)
atexit.register(_stop)


def _new_reactor() -> Any:
    """The platform's best reactor, uninstalled."""
    try:
        from twisted.internet.epollreactor import EPollReactor  # noqa: PLC0415
    except ImportError:
        from twisted.internet.selectreactor import SelectReactor  # noqa: PLC0415

        return SelectReactor()
    return EPollReactor()
