"""The state of a watch: the frames for the reader, and the start index and the backoff of the next connection.

This module does no I/O, and its rng is an argument. It guarantees:

- The reader gets every frame that arrives, except frames that it already has or has committed.
- The reader has at most `window` frames that are neither committed nor rejected. On one connection, the service ensures
  this, and its count includes commits of other clients. Therefore this module limits the reader only while there are
  frames that arrived on an earlier connection and were not sent again.
- After the loss of a connection, the watch continues from the first frame that may be uncommitted. Indexes start at 1.
  A missing index may be a frame of another consumer of the group, which is sent to this client if that consumer ends.
  So the start index is moved only past frames that this client has committed without a gap.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from eas_tw.queue.frames import MAX_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from eas_tw.queue.frames import Frame

BACKOFF_BASE_S, BACKOFF_MAX_S = 0.1, 5.0
KEPT = 2**16
"""The maximum number of stored indexes, for uncommitted frames and for committed frames each."""
_FIRST_INDEX = 1
_NEWEST = -1
_MAX_DOUBLINGS = 16


class Watching:
    """The frames of one watch, over all its connections.

    Args:
        index: The index from which the caller watches; 0 for the head of the queue, -1 for its newest frame.
        window: The maximum number of frames that the reader has and that are neither committed nor rejected.
        auto_commit: Whether the service commits the frames that it sends; the window then has no effect.
        buffer_bytes: The total size of unread frames, in bytes, above which the connection is paused.
        rng: The random number generator for the pauses.
    """

    def __init__(self, index: int, window: int, *, auto_commit: bool, buffer_bytes: int, rng: Random) -> None:
        self._given_index = index
        self._window = window
        self._auto_commit = auto_commit
        self._buffer_bytes = buffer_bytes
        self._rng = rng
        self._unread: deque[Frame] = deque()
        self._unread_bytes = 0
        self._known: dict[int, str] = {}  # received and neither committed nor rejected: index to request id
        self._in_hand: dict[int, None] = {}  # the part of `_known` that the reader has
        self._stale: dict[int, None] = {}  # the part of `_known` that only earlier connections sent
        self._rejecting: dict[int, str] = {}  # a reject was sent, and may fail: index to request id
        self._committed: OrderedDict[int, str] = OrderedDict()  # index to request id
        self._start = max(index, _FIRST_INDEX)  # all frames from the given index up to this one are committed
        self._is_placed = index != _NEWEST
        self._losses = 0

    @property
    def reconnect_index(self) -> int:
        """The index from which the next connection watches."""
        if not self._is_placed or self._start == max(self._given_index, _FIRST_INDEX):
            return self._given_index
        return self._start

    @property
    def has_moved(self) -> bool:
        """Whether the next connection watches from a greater index than the caller has given."""
        return self.reconnect_index > self._given_index

    @property
    def has_unread(self) -> bool:
        """Whether there are frames that the reader has not read."""
        return bool(self._unread)

    @property
    def is_full(self) -> bool:
        """Whether to pause the connection, because too many frames or bytes are unread."""
        return len(self._unread) > self._window or self._unread_bytes > self._buffer_bytes

    @property
    def is_at_window(self) -> bool:
        """Whether unread frames wait because the reader has `window` frames, some of them from earlier connections."""
        return bool(self._unread and self._stale) and len(self._in_hand) >= self._window

    def received(self, frame: Frame) -> bool:
        """Store a frame that has arrived, unless it is a repetition; return whether it is new."""
        index, request_id = frame.index, frame.request_id
        for remembered in (self._known, self._committed):
            if index in remembered and _is_same(remembered[index], request_id):
                self._stale.pop(index, None)
                return False
        if not self._is_placed:
            self._start, self._is_placed = index, True
        if index < self._start:  # less than the index of a committed frame: the queue was recreated
            self._start = max(index, _FIRST_INDEX)
        self._committed.pop(index, None)
        # A frame that the reader has rejected, and that arrives again before the response to the reject, is unread.
        self._in_hand.pop(index, None)
        self._losses = 0
        self._unread.append(frame)
        self._unread_bytes += len(frame.data)
        if self._auto_commit:
            self._committed[index] = request_id
            self._advance()
        else:
            self._known[index] = request_id
            if len(self._known) > KEPT:
                self._forget((next(iter(self._known)),))  # the oldest; another client may have committed it
        return True

    def next_frame(self) -> Frame | None:
        """Return the next frame for the reader; `None` if there is none, or if `is_at_window`."""
        if not self._unread or (self._stale and self.is_at_window):
            return None
        frame = self._unread.popleft()
        self._unread_bytes -= len(frame.data)
        if not self._auto_commit and frame.index in self._known:
            self._in_hand[frame.index] = None
        return frame

    def taken_back(self, frame: Frame) -> None:
        """Make a frame that the reader has, and cannot use, the next one again."""
        self._unread.appendleft(frame)
        self._unread_bytes += len(frame.data)
        self._in_hand.pop(frame.index, None)

    def drop_unread(self) -> None:
        """Remove the frames that the reader has not read."""
        self._forget([frame.index for frame in self._unread])
        self._unread.clear()
        self._unread_bytes = 0

    def committed(self, indexes: Iterable[int]) -> None:
        """Record that the service has committed frames."""
        for index in indexes:
            if index in self._rejecting:
                self._drop_repeated(index, self._rejecting.pop(index))
            self._in_hand.pop(index, None)
            self._stale.pop(index, None)
            self._committed[index] = self._known.pop(index, "")
            self._committed.move_to_end(index)
        self._advance()

    def rejecting(self, indexes: Iterable[int]) -> None:
        """Record that a reject of frames was sent: if such a frame arrives again, the reader gets it again.

        The service may send a frame again on the watch before the response to the reject arrives.
        """
        for index in indexes:
            request_id = self._known.pop(index, None)
            if request_id is not None:
                self._rejecting[index] = request_id
        while len(self._rejecting) > KEPT:
            self._rejecting.pop(next(iter(self._rejecting)))

    def rejected(self, indexes: Iterable[int]) -> None:
        """Record that the service has accepted a reject; frames that it has sent again in the meantime are kept."""
        for index in indexes:
            self._rejecting.pop(index, None)
        self._forget([index for index in indexes if index not in self._known])

    def _drop_repeated(self, index: int, request_id: str) -> None:
        """Remove an unread frame that was committed after all, because the reject that repeated it has failed."""
        for frame in self._unread:
            if frame.index == index and frame.request_id == request_id:
                self._unread.remove(frame)
                self._unread_bytes -= len(frame.data)
                return

    def _forget(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            self._in_hand.pop(index, None)
            self._stale.pop(index, None)
            self._known.pop(index, None)

    def truncated(self, index: int) -> None:
        """Record that the frames whose index is less than `index` were deleted."""
        self.committed([known for known in self._known if known < index])

    def forget_stale(self) -> None:
        """Stop counting the reader's frames of earlier connections: other clients may have committed them.

        Unread frames of earlier connections remain stale, so that the reader does not get more than `window` of them.
        """
        unread = {frame.index for frame in self._unread}
        for index in [index for index in self._stale if index not in unread]:
            del self._stale[index]
            self._in_hand.pop(index, None)

    def restarted(self) -> None:
        """Drop the state of all frames, because the queue was recreated and its new frames reuse indexes."""
        self._given_index = max(self._given_index, 0)  # -1 would skip frames of the new queue, which are all unread
        self._start, self._is_placed = max(self._given_index, _FIRST_INDEX), True
        for remembered in (self._known, self._in_hand, self._stale, self._rejecting, self._committed):
            remembered.clear()

    def lost(self) -> float:
        """Record that the connection was lost or not made, and return the pause before the next one, in seconds.

        Exponential backoff with full jitter: the maximum doubles with each consecutive loss, from 0.1 s to 5 s, until a
        new frame arrives.
        """
        ceiling_s = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(self._losses, _MAX_DOUBLINGS))
        self._losses += 1
        self._stale = dict.fromkeys(self._known)
        return self._rng.uniform(0.0, ceiling_s)

    def _advance(self) -> None:
        """Move the start index past committed frames, and remove the oldest committed indexes if there are too many."""
        while self._start in self._committed and self._start < MAX_INDEX:
            self._start += 1
        while len(self._committed) > KEPT:
            self._committed.popitem(last=False)


def _is_same(remembered: str, request_id: str) -> bool:
    """Return whether two frames with the same index are the same, by their request ids; an empty id equals any id."""
    return not remembered or not request_id or remembered == request_id
