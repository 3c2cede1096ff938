"""The asyncio watcher when its task is cancelled in the loop's turn in which the result arrives.

asyncio then raises `CancelledError` in the task, and drops the result.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from eas_tw.aio import PredictClient
from eas_tw.aio.queue import Watcher
from tests.queue.peer import QueueHarness
from tests.queue.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def in_asyncio(watcher: Any) -> Watcher:
    return Watcher(watcher, PredictClient("", "svc", instances=[("10.0.0.1", 80)])._wait)


async def cancel_when(arrive: Callable[[], object], waiting: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine until it waits, and cancel its task immediately after the result has arrived."""
    task = asyncio.ensure_future(waiting)
    await asyncio.sleep(0)
    arrive()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("read", [Watcher.next_frame, Watcher.__anext__])
def test_a_frame_that_arrives_as_its_task_is_cancelled_is_the_next_frame(
    read: Callable[[Watcher], Coroutine[Any, Any, Any]],
) -> None:
    watched = Watched(window=2)
    watcher = in_asyncio(watched.watcher)

    asyncio.run(cancel_when(lambda: watched.service.send(1, 2), read(watcher)))
    assert watched.indexes(2) == [1, 2]
    assert not watched.reading().fired
    watched.harness.assert_clean()


def test_a_frame_that_is_taken_back_goes_to_the_reader_that_waits_by_then() -> None:
    watched = Watched()
    watcher = in_asyncio(watched.watcher)
    others: list[Any] = []

    def arrive() -> None:
        watched.service.send(1)
        others.append(watched.reading())

    asyncio.run(cancel_when(arrive, watcher.next_frame()))
    assert others[0].value.index == 1
    watched.harness.assert_clean()


def test_a_closed_watcher_takes_no_frame_back() -> None:
    """The service sends the frame to another consumer."""
    watched = Watched()
    watcher = in_asyncio(watched.watcher)

    def arrive() -> None:
        watched.service.send(1)
        watched.watcher.close()

    asyncio.run(cancel_when(arrive, watcher.next_frame()))
    assert watcher.ready_frame() is None
    watched.harness.assert_clean()


def test_a_watch_that_opens_as_its_task_is_cancelled_is_closed() -> None:
    harness = QueueHarness()
    watcher = in_asyncio(harness.client.sink().watch())
    asyncio.run(cancel_when(harness.upgraded, watcher.open()))
    assert repr(watcher) == "<asyncio <Watcher of svc/sink closed>>"
    harness.reactor.advance(1.0)  # the time for the service's Close frame
    assert not [wire for wire in harness.reactor.wires if wire.is_open and b"_watch_" in wire.value()]
    harness.assert_clean()
