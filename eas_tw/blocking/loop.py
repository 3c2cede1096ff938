"""The reactor thread of the blocking clients, and the functions that pass work to it.

The reactor is not the global `twisted.internet.reactor`, which the program may run itself. The thread starts with the
first call and ends with the interpreter. A fork copies no threads, so a forked child starts a new thread
(`own_loop`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time  # noqa: TID251  the reactor is made here
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from eas_tw import ClientClosed
from eas_tw.lookup import ThreadResolver
from eas_tw.telemetry.stdlib_logging import forward_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

T = TypeVar("T")

_STOP_WITHIN_S = 5.0
"""The maximum time, in seconds, that the interpreter's exit waits for the reactor thread."""
_SLEEPS_AT_MOST_S = 1.0
"""The maximum time, in seconds, after which a waiting thread wakes up to handle signals (`_BlockingJob.wait`)."""


class _BlockingJob(Generic[T]):
    """A function to run in the reactor's thread, and a lock on which one thread waits for its result."""

    __slots__ = ("_done", "_error", "_is_cancelled", "_result", "_running", "_undo", "_work")

    def __init__(self, work: Callable[[], Deferred[T]], undo: Callable[[T], object] | None) -> None:
        self._work = work
        self._undo = undo
        self._running: Deferred[T] | None = None
        self._is_cancelled = False
        self._result: Any = None
        self._error: BaseException | None = None
        # A plain lock takes a tenth of the time of a `threading.Event` or a `Future`.
        self._done = threading.Lock()
        self._done.acquire()

    def start(self) -> Deferred[Any]:
        self._running = running = maybeDeferred(self._work)
        running.addCallbacks(self._succeeded, self._failed)
        if self._is_cancelled:
            self._stop(running)
        return running

    def cancel(self) -> None:
        self._is_cancelled = True
        if self._running is not None:
            self._stop(self._running)

    def wait(self) -> None:
        # The thread wakes up at intervals, because a signal that arrives just before `acquire` blocks does not
        # interrupt the wait.
        while not self._done.acquire(timeout=_SLEEPS_AT_MOST_S):
            pass

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[no-any-return]

    def give_up(self, error: Exception) -> None:
        """End the wait with an error, because the reactor has stopped."""
        self._error = error
        with contextlib.suppress(RuntimeError):  # raised if the job had ended already
            self._done.release()

    def _stop(self, running: Deferred[Any]) -> None:
        running.cancel()
        undo = self._undo
        if undo is not None:  # the result may have arrived before the cancel
            running.addCallback(lambda _: None if self._error is not None else undo(self._result))

    def _succeeded(self, result: T) -> None:
        self._result = result
        self._done.release()

    def _failed(self, failure: Failure) -> None:
        # The traceback is removed, because the caller would keep the frames of the reactor's thread alive.
        error: BaseException = failure.value  # type: ignore[assignment]  # a Failure has one
        self._error = error.with_traceback(None)
        self._done.release()


class Run(Protocol):
    """The type of `Loop.run`."""

    def __call__(self, work: Callable[[], Any], undo: Callable[[Any], object] | None = None) -> Any:
        """Run a function in the reactor's thread, and wait for its result, which may be a Deferred."""


class Job(Protocol):
    """A function to run in the reactor's thread, and a place for its result."""

    def start(self) -> Deferred[Any]:
        """Run the function; the Deferred fires when its result is stored."""

    def give_up(self, error: Exception) -> None:
        """End the job with an error, because the reactor has stopped."""


class Loop:
    """Runs functions in the thread of a reactor, on behalf of other threads.

    Args:
        reactor: A reactor that runs, or will run, in another thread.

    Attributes:
        reactor: The reactor.
        lock: A lock for initialisation that must happen once for each loop.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.lock = threading.Lock()
        self._forks = _forks
        self._thread_id = 0
        self._queue: deque[Job] = deque()
        self._jobs: set[Job] = set()
        self._is_woken = False
        self._is_over = False
        reactor.callFromThread(self._begin)

    def run(self, work: Callable[[], Deferred[T]], undo: Callable[[T], object] | None = None) -> T:
        """Run a function in the reactor's thread, and wait for the result of its Deferred.

        Args:
            work: The function, which returns a Deferred. The Deferred is cancelled if an exception of a signal handler,
                such as `KeyboardInterrupt`, ends the wait.
            undo: A function that is called with the result, in the reactor's thread, if the result arrives before the
                Deferred is cancelled; `None` if nothing is lost with the result.

        Returns:
            The value that the Deferred fires with.

        Raises:
            RuntimeError: The method was called in the reactor's thread, which would deadlock; or in a forked child,
                which does not have the reactor's thread.
            ClientClosed: The reactor has stopped.
            Exception: Any exception that `work` raises or that its Deferred fails with.
        """
        self._check_caller()
        job = _BlockingJob(work, undo)
        try:
            self._enqueue(job)
            job.wait()
        except BaseException:  # KeyboardInterrupt can be raised at any line of the block
            self.reactor.callFromThread(self._withdraw, job)
            raise
        return job.result()

    def submit(self, job: Job) -> None:
        """Run a job in the reactor's thread, without waiting.

        Raises:
            RuntimeError: The method was called in the reactor's thread, or in a forked child.
        """
        self._check_caller()
        self._enqueue(job)

    def _check_caller(self) -> None:
        if threading.get_ident() == self._thread_id:
            raise RuntimeError(
                "a blocking call in the reactor's own thread would wait for itself: use eas_tw.PredictClient there"
            )
        if self._forks != _forks:
            raise RuntimeError(
                "this client uses a reactor that runs in the parent process only: make a client in each process, or "
                "leave out reactor="
            )

    def _enqueue(self, job: Job) -> None:
        self._queue.append(job)
        # One wake-up is enough for many threads, because `_take` takes all queued jobs. Two threads may both read False
        # here; the second wake-up then finds an empty queue.
        if not self._is_woken:
            self._is_woken = True
            self.reactor.callFromThread(self._take)
        if self._is_over:
            self._end()

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

    def _withdraw(self, job: _BlockingJob[Any]) -> None:
        job.cancel()
        # The interrupted thread may have queued the job and set `_is_woken` without waking the reactor.
        self._take()

    def _over(self, _: object, job: Job) -> None:
        self._jobs.discard(job)

    def _end(self) -> None:
        self._is_over = True
        for job in [*self._queue, *self._jobs]:
            job.give_up(ClientClosed("the reactor has stopped"))


class OwnLoop(Loop):
    """A loop that creates its reactor, and runs it in a daemon thread from the first `run` or `submit` on."""

    def __init__(self) -> None:
        reactor = _new_reactor()
        # `twisted.python.threadable` stores only one I/O thread for the whole process, which must be the thread of the
        # program's own reactor.
        reactor._registerAsIOThread = False  # noqa: SLF001
        # With Twisted's default, `time.time`, setting the system clock back by an hour would delay every timer by an
        # hour.
        reactor.seconds = time.monotonic
        # The interpreter's exit would wait for Twisted's own resolver threads while a name server does not answer.
        reactor.installNameResolver(ThreadResolver(reactor))
        super().__init__(reactor)
        self._thread: threading.Thread | None = None
        self._is_exiting = False

    def run(self, work: Callable[[], Deferred[T]], undo: Callable[[T], object] | None = None) -> T:
        """Start the reactor's thread if it was not started before, then run `work`; see `Loop.run`."""
        self._ensure_started()
        try:
            return super().run(work, undo)
        except ClientClosed:
            if self._is_exiting and threading.current_thread().daemon:
                # The interpreter is exiting and will freeze this daemon thread. An exception would be printed to
                # standard error before that, so the thread waits instead.
                threading.Event().wait()
            raise

    def submit(self, job: Job) -> None:
        """Start the reactor's thread if it was not started before, then run the job; see `Loop.submit`."""
        self._ensure_started()
        super().submit(job)

    def stop(self) -> None:
        """Stop the reactor, and wait for its thread. Called at the interpreter's exit."""
        self._is_exiting = True
        if self._thread is not None:
            self.reactor.callFromThread(self.reactor.stop)
            self._thread.join(_STOP_WITHIN_S)

    def _ensure_started(self) -> None:
        if self._thread is None:
            with self.lock:
                if self._thread is None:
                    self._thread = self._started()

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
"""The loops of parent processes, which a forked child never deletes.

Deleting such a loop would close sockets and an epoll descriptor that the parent uses as well, and could disturb the
parent.
"""


def own_loop() -> OwnLoop:
    """Return the loop of this process; the first call creates it."""
    global _own  # noqa: PLW0603  there is one reactor thread per process
    if _own is not None:
        return _own
    with _lock:
        if _own is None:
            _own = OwnLoop()
        return _own


def _forget() -> None:
    """Reset the module's state in a forked child, which has no reactor thread.

    The lock is replaced, because a thread of the parent may have held it at the fork.
    """
    global _forks, _lock, _own  # noqa: PLW0603
    _forks += 1
    _lock = threading.Lock()
    if _own is not None:
        _left_behind.append(_own)
        _own = None


def _stop() -> None:
    """Stop the loop of this process at the interpreter's exit."""
    if _own is not None:
        _own.stop()


os.register_at_fork(after_in_child=_forget)
atexit.register(_stop)


def _new_reactor() -> Any:
    """Create the best reactor of the platform, without installing it as the global reactor."""
    try:
        from twisted.internet.epollreactor import EPollReactor  # noqa: PLC0415
    except ImportError:
        from twisted.internet.selectreactor import SelectReactor  # noqa: PLC0415

        return SelectReactor()
    return EPollReactor()
