"""The context manager and iterator of a watcher, the same for Twisted and asyncio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from eas_tw.queue.frames import Frame


class FrameIterator(ABC):
    """Iterates over frames between `open` and `close`."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        # A frame that has arrived is taken without a Deferred, which would add a quarter to the cost of a frame.
        frame = self.ready_frame()
        if frame is None:
            frame = await self.next_frame()
        if frame is None:
            raise StopAsyncIteration
        return frame

    @abstractmethod
    def open(self) -> Awaitable[object]:
        """Begin to watch."""

    @abstractmethod
    def ready_frame(self) -> Frame | None:
        """Return the next frame if it has arrived; `None` otherwise."""

    @abstractmethod
    def next_frame(self) -> Awaitable[Frame | None]:
        """Wait for the next frame; `None` at the end."""

    @abstractmethod
    def close(self) -> Awaitable[None]:
        """Stop watching."""
