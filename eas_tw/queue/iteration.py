"""The async context manager and iterator that the watchers for Twisted and asyncio share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from eas_tw.queue.frames import Frame


class FrameIterator(ABC):
    """Base of watchers: an async context manager that calls `open` and `close`, and an async iterator of frames."""

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
        # A frame that has already arrived is returned without a Deferred, which would cost 25 % more time per frame.
        frame = self.ready_frame()
        if frame is None:
            frame = await self.next_frame()
        if frame is None:
            raise StopAsyncIteration
        return frame

    @abstractmethod
    def open(self) -> Awaitable[object]:
        """Start to watch."""

    @abstractmethod
    def ready_frame(self) -> Frame | None:
        """Return the next frame if it has arrived; `None` otherwise."""

    @abstractmethod
    def next_frame(self) -> Awaitable[Frame | None]:
        """Wait for the next frame; `None` after the last frame."""

    @abstractmethod
    def close(self) -> Awaitable[None]:
        """Stop watching."""
