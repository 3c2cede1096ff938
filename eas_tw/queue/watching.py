"""The state of a watch: which frames its reader gets, from which frame it goes on after a loss, and after what pause.

It does no input and output, and takes its rng as an argument. It guarantees:

- The reader gets every frame that arrives, unless it has the frame or has committed it.
- At most `window` frames are in the reader's hands, neither committed nor rejected. The service ensures that on each
  connection, and knows of commits that were made by other clients. Here only those frames are counted besides that
  came on an earlier connection, and have not come again.
- After a loss, the watch goes on from the first frame that may be uncommitted. The service counts indexes from 1; a gap
  may be a frame of another consumer of the group, which would come here if that consumer died. So the start moves only
  past frames that were committed here without a gap.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from eas_tw.queue.frames import Frame

BACKOFF_BASE_S, BACKOFF_MAX_S = 0.1, 5.0
KEPT = 2**16
"""The maximum number of frames that are remembered, both of those in hand and of those committed."""
_FIRST_INDEX = 1
_NEWEST = -1
_MAX_DOUBLINGS = 16


class Watching:
    """The frames of one watch, over all of its connections.

    Args:
        index: The index from which the caller watches; 0 for the head of the queue, -1 for its newest frame.
        window: The maximum number of frames in the reader's hands.
        auto_commit: Whether the service commits what it sends; the window has no effect then.
        buffer_bytes: The bytes of unread frames above which the connection is to be paused.
        rng: For the pauses.
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
        self._in_hand: dict[int, None] = {}
        self._stale: dict[int, None] = {}  # known from an earlier connection, and not sent again since
        self._committed: OrderedDict[int, str] = OrderedDict()
        self._start = max(index, _FIRST_INDEX)  # every frame from the given index to here is committed
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
        """Whether the next connection watches from a later index than the caller has given."""
        return self.reconnect_index > self._given_index

    @property
    def has_unread(self) -> bool:
        """Whether there are frames that the reader has not received."""
        return bool(self._unread)

    @property
    def is_full(self) -> bool:
        """Whether to pause the connection, because too many bytes are unread."""
        return len(self._unread) > self._window or self._unread_bytes > self._buffer_bytes

    @property
    def is_at_window(self) -> bool:
        """Whether unread frames wait because the reader has `window` frames in hand."""
        return bool(self._unread and self._stale) and len(self._in_hand) >= self._window

    def received(self, frame: Frame) -> bool:
        """Take a frame that arrived; return whether it is new, so that the reader will get it."""
        index, request_id = frame.index, frame.request_id
        for remembered in (self._known, self._committed):
            if index in remembered and _is_same(remembered[index], request_id):
                self._stale.pop(index, None)
                return False
        if not self._is_placed:
            self._start, self._is_placed = index, True
        if index < self._start:  # a new frame below the committed ones: the queue was recreated
            self._start = max(index, _FIRST_INDEX)
        self._committed.pop(index, None)
        self._losses = 0
        self._unread.append(frame)
        self._unread_bytes += len(frame.data)
        if self._auto_commit:
            self._committed[index] = request_id
            self._advance()
        else:
            self._known[index] = request_id
            if len(self._known) > KEPT:
                self._forget((next(iter(self._known)),))  # another client may have committed it unnoticed
        return True

    def next_frame(self) -> Frame | None:
        """Return the next frame for the reader; `None` if there is none, or if `window` frames are in its hands."""
        if not self._unread or (self._stale and self.is_at_window):
            return None
        frame = self._unread.popleft()
        self._unread_bytes -= len(frame.data)
        if not self._auto_commit and frame.index in self._known:
            self._in_hand[frame.index] = None
        return frame

    def drop_unread(self) -> None:
        """Forget the frames that the reader has not received."""
        self._forget([frame.index for frame in self._unread])
        self._unread.clear()
        self._unread_bytes = 0

    def committed(self, indexes: Iterable[int]) -> None:
        """Record that the service has committed frames."""
        for index in indexes:
            self._in_hand.pop(index, None)
            self._stale.pop(index, None)
            self._committed[index] = self._known.pop(index, "")
            self._committed.move_to_end(index)
        self._advance()

    def rejecting(self, indexes: Iterable[int]) -> None:
        """Record that frames are given back: if one arrives from now on, the reader gets it again.

        The service may send a frame again before its answer to the reject arrives, on another connection.
        """
        for index in indexes:
            self._known.pop(index, None)

    def rejected(self, indexes: Iterable[int]) -> None:
        """Record that the service has taken frames back; frames that it has sent again since stay as they are."""
        self._forget([index for index in indexes if index not in self._known])

    def _forget(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            self._in_hand.pop(index, None)
            self._stale.pop(index, None)
            self._known.pop(index, None)

    def truncated(self, index: int) -> None:
        """Record that the frames with a smaller index are gone."""
        self.committed([known for known in self._known if known < index])

    def forget_stale(self) -> None:
        """Stop counting the frames of earlier connections: other clients may have committed them."""
        for index in self._stale:
            self._in_hand.pop(index, None)
        self._stale.clear()

    def restarted(self) -> None:
        """Begin again, because the queue was recreated: its new frames reuse the indexes of earlier ones."""
        self._given_index = max(self._given_index, 0)  # -1 would skip frames: all of the new queue's are unread
        self._start, self._is_placed = max(self._given_index, _FIRST_INDEX), True
        for remembered in (self._known, self._in_hand, self._stale, self._committed):
            remembered.clear()

    def lost(self) -> float:
        """Record that the connection was lost or not made, and return the pause before the next one, in seconds.

        Full jitter; the maximum doubles with each loss in a row, until a new frame arrives.
        """
        ceiling_s = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(self._losses, _MAX_DOUBLINGS))
        self._losses += 1
        self._stale = dict.fromkeys(self._known)
        return self._rng.uniform(0.0, ceiling_s)

    def _advance(self) -> None:
        """Move the start past the committed frames, and forget the oldest of these if there are too many."""
        while self._start in self._committed:
            self._start += 1
        while len(self._committed) > KEPT:
            self._committed.popitem(last=False)


def _is_same(remembered: str, request_id: str) -> bool:
    """Return whether two frames of the same index are the same, by their request ids; empty for an unknown one."""
    return not remembered or not request_id or remembered == request_id
