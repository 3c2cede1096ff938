"""`Offload` runs the steps of a generator in a thread, or in reactor iterations if the reactor has no threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from zope.interface import implementer

from eas_tw.net.offload import Offload
from tests.net.calling import Result

WITHIN_S = 60


class Work:
    """Makes generators whose steps record the thread in which they run."""

    def __init__(self, steps: int = 3, error: Exception | None = None) -> None:
        self.threads: list[str] = []
        self.go_on = threading.Event()
        self._steps = steps
        self._error = error

    def steps(self) -> Generator[None, None, str]:
        for _ in range(self._steps):
            self.threads.append(threading.current_thread().name)
            yield
        if self._error is not None:
            raise self._error
        return "done"

    def held(self) -> Generator[None, None, str]:
        """Wait for an event, and then yield once."""
        self.threads.append(threading.current_thread().name)
        self.go_on.wait(WITHIN_S)
        yield
        self.threads.append("second step")
        return "done"


@implementer(IReactorFromThreads)
class Threaded(Clock):
    """A reactor with threads; the test's thread is the reactor's thread."""

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: queue.Queue[Callable[[], Any]] = queue.Queue()

    def callFromThread(self, call: Any, *arguments: Any) -> None:  # noqa: N802
        self.from_threads.put(lambda: call(*arguments))

    def take(self) -> None:
        """Wait for a `callFromThread`, and make the call."""
        self.from_threads.get(timeout=WITHIN_S)()


def test_without_threads_each_step_is_run_in_its_own_reactor_iteration() -> None:
    clock, work = Clock(), Work(3)
    result = Result(Offload(clock).run(work.steps()))
    seen: list[int] = []

    def other_event() -> None:
        seen.append(len(work.threads))
        if len(seen) < 5:
            clock.callLater(0, other_event)

    other_event()
    clock.advance(0)
    assert seen == [0, 1, 2, 3, 3]
    assert result.value == "done"
    assert set(work.threads) == {threading.current_thread().name}
    assert clock.getDelayedCalls() == []


def test_an_exception_of_a_step_is_the_result() -> None:
    clock, threaded = Clock(), Threaded()
    for reactor in (clock, threaded):
        result = Result(Offload(reactor).run(Work(1, ValueError("wrong")).steps()))
        clock.pump([0, 0])
        if reactor is threaded:
            threaded.take()
        assert isinstance(result.error, ValueError)


def test_a_cancel_between_two_reactor_iterations_ends_the_work() -> None:
    clock, work = Clock(), Work(3)
    result = Result(Offload(clock).run(work.steps()))
    clock.callLater(0, result.deferred.cancel)
    clock.advance(0)
    assert isinstance(result.error, CancelledError)
    assert clock.getDelayedCalls() == []
    assert len(work.threads) == 1


def test_a_thread_runs_the_steps_and_the_result_fires_in_the_reactor_thread() -> None:
    """The thread is not from the reactor's pool, which the program may keep busy."""
    reactor, work = Threaded(), Work(3)
    result = Result(Offload(reactor).run(work.steps()))
    reactor.take()
    assert result.value == "done"
    assert work.threads == ["eas_tw.offload"] * 3
    assert reactor.getDelayedCalls() == []


def test_a_cancel_stops_a_thread_after_its_step() -> None:
    reactor, work = Threaded(), Work()
    result = Result(Offload(reactor).run(work.held()))
    result.deferred.cancel()
    assert isinstance(result.error, CancelledError)
    work.go_on.set()
    reactor.take()
    assert work.threads == ["eas_tw.offload"]


def test_at_most_four_threads_run_and_further_work_is_queued() -> None:
    reactor = Threaded()
    offload = Offload(reactor)
    works = [Work() for _ in range(7)]
    results = [Result(offload.run(work.held())) for work in works]
    results[4].deferred.cancel()
    works[1].go_on.set()
    reactor.take()
    for work in works:
        work.go_on.set()
    for _ in range(5):
        reactor.take()
    assert works[4].threads == []
    assert [result.value for result in results if result is not results[4]] == ["done"] * 6


def test_if_no_thread_can_be_started_the_steps_run_in_reactor_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    reactor, work = Threaded(), Work(1)
    result = Result(Offload(reactor).run(work.steps()))
    reactor.pump([0, 0])
    assert result.value == "done"
