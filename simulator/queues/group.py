"""A group of consumers. Each frame is sent to one consumer at a time, until the frame is committed. No I/O."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from simulator.queues.frames import SHUTDOWN, Consumer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.queues.frames import Frame, WatchSettings

MAX_CONSUMERS = 1000
"""Maximum number of consumers. The SDKs generate a new id at each start, so the oldest ended consumers are removed."""


class Group:
    """A group of consumers.

    A frame of the queue is in one of three states for the group: waiting, pending (sent to a consumer and not
    committed), or committed.

    Args:
        name: Name of the group.
        frames: The queue's frames by index, shared with the store.

    Attributes:
        consumers: Consumers by their ids.
        pending: User of each pending frame, by index.
        committed: Indexes of the committed frames that are still in the queue.
    """

    def __init__(self, name: str, frames: Mapping[int, Frame]) -> None:
        self.name = name
        self.consumers: dict[str, Consumer] = {}
        self.pending: dict[int, str] = {}
        self.committed: set[int] = set()
        self._frames = frames
        self._waiting = sorted(frame.sort_key for frame in frames.values())
        self._rejected: dict[int, set[str]] = {}
        self._left_by: dict[int, list[Consumer]] = {}  # by index: consumers with the frame in `unfinished`

    @property
    def waiting(self) -> int:
        """Number of waiting frames."""
        return len(self._waiting)

    @property
    def is_done(self) -> bool:
        """Whether every frame of the queue is committed."""
        return not (self._waiting or self.pending)

    def add(self, frame: Frame) -> None:
        """Add a new frame to the waiting frames."""
        insort(self._waiting, frame.sort_key)

    def remove(self, frame: Frame) -> None:
        """Discard the state of a frame that is removed from the queue."""
        self._settle(frame)
        self.committed.discard(frame.index)

    def place_of(self, frame: Frame) -> int | None:
        """Return the number of waiting frames before a waiting frame; `None` if the frame does not wait."""
        at = bisect_left(self._waiting, frame.sort_key)
        return at if at < len(self._waiting) and self._waiting[at] == frame.sort_key else None

    # -- consumers

    def join(self, user: str, settings: WatchSettings, first_index: int, now: float) -> Consumer:
        """Begin a consumer's watch; frames that are pending from its earlier watch wait again."""
        before = self.consumers.get(user)
        if before is not None:
            self.leave(before, now)
            del self.consumers[user]
        self._forget_old()
        self.consumers[user] = Consumer(user, settings, first_index, now)
        return self.consumers[user]

    def leave(self, consumer: Consumer, now: float) -> None:
        """End a consumer's watch; its pending frames wait again, for any consumer."""
        if self.consumers.get(consumer.user) is consumer and consumer.is_running:
            consumer.is_running = False
            consumer.seen_at = now
            self._give_back(consumer)

    def take(self, consumer: Consumer, now: float) -> Frame | None:
        """Choose the next frame for a consumer, and mark it as pending, or with auto-commit as committed.

        Returns:
            1. The frame.
            2. `None` if no waiting frame may be sent to this consumer, its window is full, or its watch has ended.
        """
        if not consumer.can_take:
            return None
        waiting = (self._frames[index] for _, index in self._waiting)
        frame = next((frame for frame in waiting if self._suits(frame, consumer)), None)
        if frame is None:
            return None
        del self._waiting[bisect_left(self._waiting, frame.sort_key)]
        consumer.seen_at = now
        consumer.last_index = frame.index
        if consumer.settings.auto_commit:
            self.commit(frame, now)
        else:
            self.pending[frame.index] = consumer.user
            consumer.pending[frame.index] = None
        return frame

    # -- commits

    def commit(self, frame: Frame, now: float) -> None:
        """Commit a frame, even if it waits again or is pending at a consumer other than the committing one."""
        user = self._settle(frame)
        self.committed.add(frame.index)
        if user is not None:
            self.consumers[user].seen_at = now

    def reject(self, frame: Frame, code: str) -> None:
        """Make a pending frame wait again, preferably for another consumer; ignore a frame that is not pending.

        With the code `SHUTDOWN` no more frames are sent to its consumer.
        """
        user = self.pending.get(frame.index)
        if user is None:
            return
        self.redeliver(frame)
        self._rejected.setdefault(frame.index, set()).add(user)
        if code == SHUTDOWN:
            self.consumers[user].is_ending = True

    def redeliver(self, frame: Frame) -> bool:
        """Make a pending frame wait again; return whether it was pending."""
        user = self.pending.pop(frame.index, None)
        if user is None:
            return False
        self.consumers[user].pending.pop(frame.index, None)
        insort(self._waiting, frame.sort_key)
        return True

    def _give_back(self, consumer: Consumer) -> None:
        consumer.unfinished |= consumer.pending
        for index in list(consumer.pending):
            self._left_by.setdefault(index, []).append(consumer)
            self.redeliver(self._frames[index])

    def _settle(self, frame: Frame) -> str | None:
        """Remove a frame from the waiting and the pending frames; return the user of a pending frame, else `None`."""
        at = self.place_of(frame)
        if at is not None:
            del self._waiting[at]
        user = self.pending.pop(frame.index, None)
        if user is not None:
            self.consumers[user].pending.pop(frame.index, None)
        self._rejected.pop(frame.index, None)
        for consumer in self._left_by.pop(frame.index, ()):
            consumer.unfinished.pop(frame.index, None)
        return user

    def _suits(self, frame: Frame, consumer: Consumer) -> bool:
        if frame.index < consumer.first_index or not frame.has(consumer.settings.tags):
            return False
        refused_by = self._rejected.get(frame.index, ())
        # A frame is sent to a consumer that has rejected it only if no other consumer is available.
        others = (other for user, other in self.consumers.items() if user not in refused_by)
        return consumer.user not in refused_by or not any(other.is_running and not other.is_ending for other in others)

    def _forget_old(self) -> None:
        if len(self.consumers) >= MAX_CONSUMERS:
            gone = [consumer for consumer in self.consumers.values() if not consumer.is_running]
            for consumer in gone[: len(self.consumers) - MAX_CONSUMERS + 1]:
                del self.consumers[consumer.user]
