"""The blocking watcher gets all frames that have arrived with one call to the reactor thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eas_tw.blocking.queue import Watcher
from tests.net.calling import Result
from tests.queue.peer import QueueHarness, Service, frame_bytes


class Threadless:
    """A blocking watcher whose reactor runs in the calling thread, on a `Clock`."""

    def __init__(self) -> None:
        self.harness = QueueHarness()
        self.changes = 0
        self.service: Service
        self.watcher = Watcher(self.harness.client.watch(), self.run)
        self.watcher.open()
        self.changes = 0

    def run(self, work: Callable[[], Any], undo: object = None) -> Any:
        self.changes += 1
        result = Result(work())
        if not result.fired and not hasattr(self, "service"):
            self.service = self.harness.upgraded()
        elif not result.fired:
            self.harness.reactor.advance(1.0)
        return result.value

    def indexes(self, frames: Iterator[Any], count: int) -> list[int]:
        return [next(frames).index for _ in range(count)]


@pytest.fixture
def threadless() -> Iterator[Threadless]:
    found = Threadless()
    yield found
    found.harness.assert_clean()


def test_frames_of_one_segment_need_one_call_to_the_reactor_thread(threadless: Threadless) -> None:
    threadless.service.send_together(*[frame_bytes(index) for index in range(1, 33)])
    assert threadless.indexes(iter(threadless.watcher), 32) == list(range(1, 33))
    assert threadless.changes == 1


def test_a_second_iterator_continues_after_the_first(threadless: Threadless) -> None:
    threadless.service.send_together(*[frame_bytes(index) for index in range(1, 4)])
    assert threadless.indexes(threadless.watcher.run(), 1) == [1]
    assert threadless.indexes(threadless.watcher.run(), 2) == [2, 3]


def test_frames_that_were_not_returned_are_dropped_by_close(threadless: Threadless) -> None:
    """The service sends these frames to another consumer."""
    threadless.service.send_together(*[frame_bytes(index) for index in range(1, 4)])
    frames = threadless.watcher.run()
    assert threadless.indexes(frames, 1) == [1]
    threadless.watcher.close()
    assert list(frames) == []


def test_a_wait_that_is_interrupted_loses_no_frame(threadless: Threadless) -> None:
    threadless.service.send_together(frame_bytes(1), frame_bytes(2))
    run = threadless.run

    def interrupted(work: Callable[[], Any], undo: object = None) -> Any:
        run(work, undo)
        raise KeyboardInterrupt

    threadless.watcher._run = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(threadless.watcher.run())
    threadless.watcher._run = run
    assert threadless.indexes(threadless.watcher.run(), 2) == [1, 2]
