"""The values of a queue: frames and consumers, and the errors of a put."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import Factory, define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAVING_S = 10.0
"""Seconds for which a consumer with uncommitted frames is `Leaving` after the end of its watch, before `Exit`."""
NEWEST = -1
"""The index that selects the newest frame."""
SHUTDOWN = "Shutdown"
"""The code of a reject with which a consumer announces its end; no more frames are sent to that consumer."""


class QueueFullError(Exception):
    """Raised for a put into a full queue that cannot drop a frame, because no frame is committed by every group."""


class StreamEndedError(Exception):
    """Raised for a put after the end of the stream."""


@frozen
class Frame:
    """An entry of a queue.

    Attributes:
        index: Number of the frame in its queue, from 1, in the order of the puts.
        tags: Tags, among them `requestId`.
        data: The payload.
        priority: Priority; frames of a greater priority are delivered first.
        path: Path of the put relative to the queue's path, for the processor.
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
        """Return whether the frame has all of these tags."""
        return all(self.tags.get(name) == value for name, value in tags.items())


class ConsumerStatus(StrEnum):
    """The status of a consumer, as in the service's attributes."""

    RUNNING = "Running"
    LEAVING = "Leaving"
    """The watch ended less than `LEAVING_S` ago, and not all frames are committed."""
    EXIT = "Exit"
    """The watch ended at least `LEAVING_S` ago, and not all frames are committed."""
    COMPLETE = "Complete"
    """The watch ended, and all frames are committed."""


@frozen
class WatchSettings:
    """The settings of a consumer, from the parameters of its watch.

    Attributes:
        index: Lowest index of the frames to send; `NEWEST` for the newest frame and all later ones.
        window: Maximum number of pending frames.
        index_only: Whether frames are sent without their data.
        auto_commit: Whether a frame is committed when it is sent; then the window is ignored.
        tags: Tags that the frames must have.
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
        user: Id of the consumer.
        settings: Settings of its last watch.
        first_index: Lowest index of the frames to send to it.
        is_running: Whether its watch is open.
        is_ending: Whether it has rejected a frame because it will end soon.
        seen_at: Time of its last watch, frame or commit, or of the end of its watch.
        last_index: Index of the last frame that was sent to it; 0 for none.
        pending: Indexes of frames that were sent to it and are not committed.
        unfinished: Indexes of frames that were pending when its watch ended, and are still not committed.
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
        """Number of frames that may still be sent to it within its window."""
        return max(0, self.settings.window - len(self.pending))

    @property
    def can_take(self) -> bool:
        """Whether a frame may be sent to it now."""
        return self.is_running and not self.is_ending and (self.settings.auto_commit or self.slots > 0)

    def status(self, now: float) -> ConsumerStatus:
        """Return the consumer's status at the time `now`, in seconds."""
        if self.is_running:
            return ConsumerStatus.RUNNING
        if not self.unfinished:
            return ConsumerStatus.COMPLETE
        return ConsumerStatus.LEAVING if now - self.seen_at < LEAVING_S else ConsumerStatus.EXIT
