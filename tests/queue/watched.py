"""An open watch for the tests of `Watcher`, over connections in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw import Frame, Watcher
from tests.net.calling import Result
from tests.queue.peer import QueueHarness, Service

if TYPE_CHECKING:
    from eas_tw.secret import TokenSource


class Watched:
    """An open watch, its harness, and the server side of its current connection."""

    def __init__(
        self, n: int = 2, settings: dict[str, Any] | None = None, *, token: TokenSource = "t0ken", **options: Any
    ) -> None:
        self.harness = QueueHarness(n, token=token, **(settings or {}))
        self.watcher: Watcher = self.harness.client.sink().watch(**options)
        self.opening = Result(self.watcher.open())
        self.service = self.harness.upgraded()
        assert self.opening.value is self.watcher

    def read(self) -> Frame | None:
        frame = self.reading().value
        assert frame is None or isinstance(frame, Frame)
        return frame

    def reading(self) -> Result:
        return Result(self.watcher.next_frame())

    def indexes(self, count: int) -> list[int]:
        frames = [self.read() for _ in range(count)]
        return [frame.index for frame in frames if frame is not None]

    def reconnected(self) -> Service:
        """Wait for the pause before the next watch, accept that watch, and return its server side."""
        self.harness.reactor.advance(0.1)
        self.service = self.harness.upgraded()
        return self.service

    def events(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.harness.events if isinstance(event, kind)]
