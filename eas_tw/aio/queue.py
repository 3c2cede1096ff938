"""`QueueClient` for asyncio, which has the operations of `eas_tw.QueueClient` as coroutines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import eas_tw
from eas_tw.aio.client import PredictClient
from eas_tw.process_bound import ProcessBound
from eas_tw.queue.iteration import FrameIterator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from twisted.internet.defer import Deferred

    from eas_tw import Frame, Instance, PutResult, SearchResult

    Frames = int | Frame | Iterable[int | Frame]
    Operate = Callable[[Any], Deferred[Any]]

    class Wait(Protocol):
        """The type of `PredictClient._wait`."""

        def __call__(self, deferred: Deferred[Any], undo: Callable[[Any], object] | None = None) -> Awaitable[Any]:
            """Wait for a Deferred."""


T = TypeVar("T")


class Watcher(FrameIterator, ProcessBound):
    """Reads the frames of a queue as they arrive; the methods are those of `eas_tw.Watcher`, as coroutines.

        async with queue.watch(window=32) as watcher:
            async for frame in watcher:
                ...
                await watcher.commit(frame)

    Args:
        watcher: The inner watcher.
        wait: The method of the client that converts a Deferred to an awaitable of the client's loop.
    """

    def __init__(self, watcher: eas_tw.Watcher, wait: Wait) -> None:
        self._watcher = watcher
        self._wait = wait

    def __repr__(self) -> str:
        return f"<asyncio {self._watcher!r}>"

    @property
    def instance(self) -> Instance | None:
        """The instance, or the gateway, that sends the frames; `None` while there is no connection."""
        return self._watcher.instance

    async def open(self) -> Self:
        """Open the watch, and wait until the service has accepted it. The errors are those of `eas_tw.Watcher.open`.

        Cancelling the waiting task closes the watcher.
        """
        await self._wait(self._watcher.open(), eas_tw.Watcher.close)
        return self

    def ready_frame(self) -> Frame | None:
        """Return the next frame if it has arrived and no task waits for a frame; `None` otherwise."""
        return self._watcher.ready_frame()

    async def next_frame(self) -> Frame | None:
        """Wait for the next frame; return `None` when the watcher is closed, or the service has ended the stream.

        Cancelling the waiting task loses no frame.
        """
        frame: Frame | None = await self._wait(self._watcher.next_frame(), self._watcher.take_back)
        return frame

    async def commit(self, frames: Frames) -> None:
        """Commit frames; commits that are made while a commit request is in flight are sent together."""
        await self._wait(self._watcher.commit(frames))

    async def reject(self, frames: Frames, code: str = "Rejected", reason: str = "") -> None:
        """Reject frames, which the queue then sends to another consumer of the group; see `eas_tw.Watcher.reject`."""
        await self._wait(self._watcher.reject(frames, code, reason))

    async def close(self) -> None:
        """Stop watching: wait for the pending commits, then close the connection (a WebSocket with code 1000)."""
        await self._wait(self._watcher.close())


class _Operations(ABC):
    """The operations of one queue; arguments, results and errors are those of `eas_tw.QueueClient`."""

    async def put(self, data: Any, **options: Any) -> PutResult:
        """Put a frame into the queue."""
        result: PutResult = await self._operate(lambda queue: queue.put(data, **options))
        return result

    async def get(self, **options: Any) -> list[Frame]:
        """Get frames; the list may be empty."""
        frames: list[Frame] = await self._operate(lambda queue: queue.get(**options))
        return frames

    def watch(self, **options: Any) -> Watcher:
        """Return a watcher, to which the service sends the frames of the queue as they appear."""
        return Watcher(self._queue().watch(**options), self._waiting())

    async def attributes(self, **options: Any) -> dict[str, str]:
        """Return the queue's attributes."""
        attributes: dict[str, str] = await self._operate(lambda queue: queue.attributes(**options))
        return attributes

    async def search(self, index: int, **options: Any) -> SearchResult:
        """Return the position of a frame in the queue."""
        result: SearchResult = await self._operate(lambda queue: queue.search(index, **options))
        return result

    async def count(self, **options: Any) -> int:
        """Return the number of frames in the queue, or of those with the given `priority` and `tags`."""
        count: int = await self._operate(lambda queue: queue.count(**options))
        return count

    async def delete(self, indexes: Frames, **options: Any) -> None:
        """Delete frames for all groups."""
        await self._operate(lambda queue: queue.delete(indexes, **options))

    async def truncate(self, index: int, **options: Any) -> None:
        """Delete every frame whose index is less than `index`."""
        await self._operate(lambda queue: queue.truncate(index, **options))

    async def commit(self, indexes: Frames, **options: Any) -> None:
        """Commit frames for the client's group."""
        await self._operate(lambda queue: queue.commit(indexes, **options))

    async def reject(self, indexes: Frames, code: str = "Rejected", reason: str = "", **options: Any) -> None:
        """Reject frames, which the queue then sends to another consumer of the group."""
        await self._operate(lambda queue: queue.reject(indexes, code, reason, **options))

    async def end(self, **options: Any) -> None:
        """End the queue's stream, after which no frame can be put; see `eas_tw.QueueClient.end`."""
        await self._operate(lambda queue: queue.end(**options))

    async def clear(self, **options: Any) -> None:
        """Delete all frames that are in the queue now."""
        await self._operate(lambda queue: queue.clear(**options))

    async def _operate(self, operate: Operate) -> Any:
        return await self._waiting()(operate(self._queue()))

    @abstractmethod
    def _queue(self) -> Any:
        """Return the inner queue, or raise the error for a client that cannot be used."""

    @abstractmethod
    def _waiting(self) -> Wait:
        """Return the function that converts a Deferred to an awaitable of the client's loop."""


class QueueClient(_Operations, PredictClient):
    """A client of one queue service, for asyncio.

    The client can be created without a running loop. `init` binds it to the running loop, and all other methods must be
    called on that loop. The arguments are those of `eas_tw.QueueClient`, except `reactor` and `wall_clock`.

    Raises:
        ConfigError: An argument is wrong.
    """

    _client_class = eas_tw.QueueClient

    def sink(self) -> SinkQueue:
        """Return the output queue of the same service, which uses this client's connections until the client closes."""
        return SinkQueue(self)

    def _queue(self) -> eas_tw.QueueClient:
        client = self._client_here()
        if not isinstance(client, eas_tw.QueueClient):
            raise TypeError(f"the inner client is a {type(client).__name__}")
        return client

    def _waiting(self) -> Wait:
        return self._wait


class SinkQueue(ProcessBound, _Operations):
    """The output queue of a queue service, with the operations of `QueueClient`.

    Args:
        client: The client of the input queue; closing it also closes the sink.
    """

    def __init__(self, client: QueueClient) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<SinkQueue of {self._client!r}>"

    def _queue(self) -> eas_tw.SinkQueue:
        return self._client._queue().sink()  # noqa: SLF001  the client of this module

    def _waiting(self) -> Wait:
        return self._client._waiting()  # noqa: SLF001
