"""One queue: its frames, and the groups that consume them. No I/O; the time is an argument.

A committed frame stays in the queue, since another group may still need it. A frame is removed when it is deleted,
truncated, or read with auto-delete. A put into a full queue removes the oldest frame that every group has committed.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from attrs import frozen

from simulator.queues.frames import NEWEST, Frame, QueueFullError, StreamEndedError
from simulator.queues.group import Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from simulator.queues.frames import Consumer, WatchSettings

MAX_LENGTH = 230_399
"""Default of the maximum number of frames, as in recorded attributes (`stream.approxMaxLength`)."""
REQUEST_ID = "requestId"


@frozen
class Position:
    """The result of a search.

    Attributes:
        is_pending: Whether the frame is pending in any group.
        wait_count: Number of frames that are delivered before it, in the group with the fewest; 0 if it does not wait.
    """

    is_pending: bool
    wait_count: int


class QueueStore:
    """The frames and the groups of one queue.

    Args:
        name: Name of the queue.
        make_request_id: Returns the request id of a frame that has none.
        max_length: Maximum number of frames.

    Attributes:
        frames: The frames by index, in the order of their indexes.
        groups: The groups by name. A group exists from its first watch or commit.
        has_ended: Whether the end of the stream has been announced.
        is_forced: Whether watches end even if frames are not committed.
        last_index: Index of the last frame that was put, even if it has been removed; 0 for none.
    """

    def __init__(self, name: str, make_request_id: Callable[[], str], max_length: int = MAX_LENGTH) -> None:
        self.name = name
        self.max_length = max_length
        self._make_request_id = make_request_id
        self.clear()

    def clear(self) -> None:
        """Return to the initial state: no frames, no groups, no end."""
        self.frames: dict[int, Frame] = {}
        self.groups: dict[str, Group] = {}
        self.has_ended = self.is_forced = False
        self.last_index = 0

    @property
    def pending(self) -> int:
        """Number of frames that are pending in at least one group."""
        return len({index for group in self.groups.values() for index in group.pending})

    @property
    def consumers(self) -> int:
        """Number of consumers with an open watch."""
        return sum(consumer.is_running for group in self.groups.values() for consumer in group.consumers.values())

    @property
    def has_room(self) -> bool:
        """Whether a frame can be put: the queue is not full, or has a frame that can be dropped."""
        return len(self.frames) < self.max_length or self._droppable() is not None

    # -- producers

    def put(self, data: bytes, tags: Mapping[str, str], priority: int = 0, path: str = "") -> Frame:
        """Append a frame; it gets a request id unless its tags have one.

        Raises:
            StreamEndedError: The stream has ended.
            QueueFullError: The queue is full, and no frame can be dropped.
        """
        if self.has_ended:
            raise StreamEndedError
        if len(self.frames) >= self.max_length:
            oldest = self._droppable()
            if oldest is None:
                raise QueueFullError
            self._remove(oldest)
        self.last_index += 1
        given = {REQUEST_ID: tags[REQUEST_ID] if REQUEST_ID in tags else self._make_request_id()}
        frame = Frame(self.last_index, {**given, **tags}, data, priority, path)
        self.frames[frame.index] = frame
        for group in self.groups.values():
            group.add(frame)
        return frame

    def end(self, *, force: bool = False) -> None:
        """Announce the end of the stream.

        No more frames can be put, and watches end when their group has committed all frames.

        Args:
            force: Whether watches end now, even if frames are not committed.
        """
        self.has_ended = True
        self.is_forced = self.is_forced or force

    def has_ended_for(self, group: str) -> bool:
        """Return whether the watches of the group must end."""
        return self.has_ended and (self.is_forced or group not in self.groups or self.groups[group].is_done)

    # -- readers

    def find(self, index: int, length: int, tags: Mapping[str, str], group: str) -> list[Frame]:
        """Return frames without consuming them.

        Args:
            index: Lowest index; 0 for the head; `NEWEST` for the newest frame that is not pending in the group.
            length: Maximum number of frames; 0 for no limit.
            tags: Tags that the frames must have.
            group: Group of the reader; frames that it has committed are left out.
        """
        known = self.groups.get(group)
        committed = known.committed if known else set()
        if index == NEWEST:
            pending = known.pending if known else {}
            newest = (
                frame
                for frame in reversed(self.frames.values())
                if frame.index not in pending and frame.index not in committed and frame.has(tags)
            )
            return list(islice(newest, 1))
        found = (
            frame
            for frame in self.frames.values()
            if frame.index >= index and frame.index not in committed and frame.has(tags)
        )
        return list(islice(found, length or None))

    def search(self, index: int) -> Position | None:
        """Return the position of a frame; `None` if it is not in the queue."""
        frame = self.frames.get(index)
        if frame is None:
            return None
        if any(index in group.pending for group in self.groups.values()):
            return Position(is_pending=True, wait_count=0)
        if not self.groups:
            return Position(False, sum(other.sort_key < frame.sort_key for other in self.frames.values()))
        places = [group.place_of(frame) for group in self.groups.values()]
        return Position(False, min((place for place in places if place is not None), default=0))

    def count(self, priority: int | None, tags: Mapping[str, str]) -> int:
        """Count the frames that have the tags and the priority; `None` for any priority."""
        return sum(frame.has(tags) and priority in (None, frame.priority) for frame in self.frames.values())

    # -- consumers

    def join(self, group: str, user: str, settings: WatchSettings, now: float) -> Consumer:
        """Begin a watch of a user; an earlier watch of the user ends, and its pending frames wait again."""
        first = settings.index
        if first == NEWEST:
            first = next(reversed(self.frames), self.last_index + 1)
        return self._group(group).join(user, settings, first, now)

    def leave(self, group: str, consumer: Consumer, now: float) -> None:
        """End a watch, because its connection is lost; its pending frames wait again."""
        if group in self.groups:
            self.groups[group].leave(consumer, now)

    def take(self, group: str, consumer: Consumer, now: float) -> Frame | None:
        """Take the next frame for a consumer; `None` if there is none, its window is full, or its watch has ended."""
        known = self.groups.get(group)
        return known.take(consumer, now) if known and known.consumers.get(consumer.user) is consumer else None

    def commit(self, group: str, indexes: Iterable[int], now: float) -> None:
        """Commit frames for a group; unknown indexes are ignored, so a commit can be repeated."""
        known = self._group(group)
        for frame in self._known(indexes):
            known.commit(frame, now)

    def reject(self, group: str, indexes: Iterable[int], code: str = "") -> None:
        """Reject frames that are pending in the group: they are delivered again, preferably to another consumer."""
        for frame in self._known(indexes):
            self._group(group).reject(frame, code)

    def redeliver(self, group: str, index: int) -> bool:
        """Deliver a pending frame again, as if its consumer's watch had ended; return whether it was pending."""
        frame, known = self.frames.get(index), self.groups.get(group)
        return frame is not None and known is not None and known.redeliver(frame)

    # -- removal

    def delete(self, indexes: Iterable[int]) -> None:
        """Remove frames for all groups, even if they are pending; unknown indexes are ignored."""
        for frame in self._known(indexes):
            self._remove(frame)

    def truncate(self, index: int) -> None:
        """Remove all frames before an index."""
        self.delete([found for found in self.frames if found < index])

    def _group(self, name: str) -> Group:
        if name not in self.groups:
            self.groups[name] = Group(name, self.frames)
        return self.groups[name]

    def _known(self, indexes: Iterable[int]) -> list[Frame]:
        return [self.frames[index] for index in indexes if index in self.frames]

    def _remove(self, frame: Frame) -> None:
        for group in self.groups.values():
            group.remove(frame)
        del self.frames[frame.index]

    def _droppable(self) -> Frame | None:
        """Return the oldest frame that every group has committed; `None` if there is no such frame, or no group."""
        groups = list(self.groups.values())
        if not groups:
            return None
        smallest = min((group.committed for group in groups), key=len)
        done = (index for index in smallest if all(index in group.committed for group in groups))
        oldest = min(done, default=None)
        return None if oldest is None else self.frames[oldest]
