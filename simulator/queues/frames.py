"""The values of a queue: frames and consumers, and the errors of a put."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import Factory, define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAVING_S = 10.0
"""Seconds for which a consumer that has gone, and has not committed all of its frames, is `Leaving` and not `Exit`."""
NEWEST = -1
"""The index that stands for the newest frame."""
SHUTDOWN = "Shutdown"
"""The code of a reject whose consumer will end soon: it gets no more frames."""


class QueueFullError(Exception):
    """The queue has its maximum length, and no frame that every group has committed, which could be dropped."""


class StreamEndedError(Exception):
    """Nothing can be put after the end of the stream."""


@frozen
class Frame:
    """An entry of a queue.

    Attributes:
        index: Place in the queue, from 1.
        tags: Tags, among them `requestId`.
        data: The payload.
        priority: Frames of a greater number are delivered first.
        path: Path of the put after the queue's own, for the processor.
    """

    index: int
    tags: Mapping[str, str] = field(factory=dict)
    data: bytes = b""
    priority: int = 0
    path: str = ""

    @property
    def sort_key(self) -> tuple[int, int]:
        """Key that sorts frames by the order of delivery."""
        return -self.priority, self.index

    def has(self, tags: Mapping[str, str]) -> bool:
        """Whether the frame has all of these tags."""
        return all(self.tags.get(name) == value for name, value in tags.items())


class ConsumerStatus(StrEnum):
    """The state of a consumer, in the words of the service's attributes."""

    RUNNING = "Running"
    LEAVING = "Leaving"
    """It has gone a short while ago, and has not committed all of its frames."""
    EXIT = "Exit"
    """It has gone long ago, and has not committed all of its frames."""
    COMPLETE = "Complete"
    """It has gone, and all of its frames are committed."""


@frozen
class WatchSettings:
    """The settings of a consumer, as its watch gives them.

    Attributes:
        index: Least index that it takes; `NEWEST` for the newest frame and those after it.
        window: Number of frames that it may have without a commit.
        index_only: Whether it gets frames without their data.
        auto_commit: Whether a frame is committed when it is sent; the window does not matter then.
        tags: Tags that its frames must have.
    """

    index: int = 0
    window: int = 1
    index_only: bool = False
    auto_commit: bool = False
    tags: Mapping[str, str] = field(factory=dict)


@define(eq=False)
class Consumer:
    """A consumer of a group.

    Attributes:
        user: Its id.
        settings: Settings of its last watch.
        first_index: Least index that it takes.
        is_running: Whether its watch is open.
        is_ending: Whether it has rejected a frame because it will end soon.
        seen_at: Time of its last watch, frame or commit, or of the end of its watch.
        last_index: Index of the last frame that it was sent; 0 for none.
        pending: Indexes of its frames without a commit.
        unfinished: Indexes that it had without a commit when it went, and that nobody has committed since.
    """

    user: str
    settings: WatchSettings
    first_index: int
    seen_at: float
    is_running: bool = True
    is_ending: bool = False
    last_index: int = 0
    pending: dict[int, None] = Factory(dict)
    unfinished: dict[int, None] = Factory(dict)

    @property
    def slots(self) -> int:
        """Number of frames that it may still be sent."""
        return max(0, self.settings.window - len(self.pending))

    @property
    def can_take(self) -> bool:
        """Whether it may be sent a frame now."""
        return self.is_running and not self.is_ending and (self.settings.auto_commit or self.slots > 0)

    def status(self, now: float) -> ConsumerStatus:
        """Return its state at a time."""
        if self.is_running:
            return ConsumerStatus.RUNNING
        if not self.unfinished:
            return ConsumerStatus.COMPLETE
        return ConsumerStatus.LEAVING if now - self.seen_at < LEAVING_S else ConsumerStatus.EXIT
