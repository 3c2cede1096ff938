"""Commits of a watch, which are batched into requests.

A commit is sent immediately if no other commit request is in flight. Commits that are made during a request wait, and
are sent together when it has ended. If the service rejects a request for several frames, each frame is committed in its
own request, because a frame that the queue does not have must not fail the commits of other callers.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from eas_tw.errors import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

    Send = Callable[[tuple[int, ...]], Deferred[Any]]
    RecordFailure = Callable[[tuple[int, ...], BaseException | None], None]

MOST_INDEXES = 256
"""The maximum number of frames in a request; with indexes of 20 digits, the request target then has about 6 kB."""

_OF_THE_FRAMES = frozenset({400, 404, 409, 410, 414, 422})
"""HTTP statuses that may be caused by a single frame of the request, or by too many frames (414, URI too long)."""


class _Commit:
    """A commit of one or more frames by one caller."""

    def __init__(self, indexes: tuple[int, ...]) -> None:
        self._left = set(indexes)
        # Cancelling this Deferred does not cancel the request, which may contain the commits of other callers.
        self.done: Deferred[None] = Deferred(lambda _: None)

    def ended(self, index: int, error: Failure | None) -> None:
        """Record that the request with one of the frames has ended.

        Args:
            index: The index of the frame.
            error: The failure of the request; `None` if it succeeded.
        """
        self._left.discard(index)
        if self.done.called:
            return
        if error is not None:
            self.done.errback(error)
        elif not self._left:
            self.done.callback(None)


class CommitBatches:
    """Batches commits into requests.

    Args:
        send: A function that sends one request for several indexes, and returns a Deferred that fires when the service
            has committed them.
        record_failure: A function that records that frames could not be committed; `None` to record nothing.
    """

    def __init__(self, send: Send, record_failure: RecordFailure | None = None) -> None:
        self._send = send
        self._record_failure = record_failure
        self._waiting: dict[int, list[_Commit]] = {}
        self._alone: dict[int, list[_Commit]] = {}
        self._is_sending = self._is_starting = False
        self._idle: list[Deferred[None]] = []

    def commit(self, indexes: tuple[int, ...]) -> Deferred[None]:
        """Commit frames.

        Returns:
            A Deferred that fires when all frames are committed, or fails with the error of the first request that
            failed.
        """
        if not indexes:
            return succeed(None)
        commit = _Commit(indexes)
        for index in dict.fromkeys(indexes):
            self._waiting.setdefault(index, []).append(commit)
        self._send_next()
        return commit.done

    def when_idle(self) -> Deferred[None]:
        """Return a Deferred that fires when no commit is in flight or waiting."""
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        self._tell_if_idle()
        return idle

    def _send_next(self) -> None:
        if self._is_starting:
            return
        # A request may fail before `_send` returns. A nested call for each such request would exhaust the stack.
        self._is_starting = True
        try:
            while not self._is_sending and (self._alone or self._waiting):
                waiting, most = (self._alone, 1) if self._alone else (self._waiting, MOST_INDEXES)
                batch = {index: waiting.pop(index) for index in list(islice(waiting, most))}
                self._is_sending = True
                maybeDeferred(self._send, tuple(batch)).addBoth(self._sent, batch)
        finally:
            self._is_starting = False
        self._tell_if_idle()

    def _sent(self, result: Any, batch: dict[int, list[_Commit]]) -> None:
        self._is_sending = False
        error = result if isinstance(result, Failure) else None
        if error is not None and len(batch) > 1 and _is_of_the_frames(error.value):
            self._alone.update(batch)
            self._send_next()
            return
        if error is not None and self._record_failure is not None:
            self._record_failure(tuple(batch), error.value)
        for index, commits in batch.items():
            for commit in commits:
                commit.ended(index, error)
        self._send_next()

    def _tell_if_idle(self) -> None:
        if not (self._is_sending or self._alone or self._waiting):
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)


def _is_of_the_frames(error: BaseException | None) -> bool:
    return isinstance(error, StatusError) and error.status in _OF_THE_FRAMES
