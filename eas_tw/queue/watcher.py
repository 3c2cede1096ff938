"""`Watcher`, which passes the frames of a queue to its caller, and commits those that the caller has processed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed

from eas_tw.errors import BodyError, ClientClosed, ConfigError, ConnectionFailed
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from eas_tw.process_bound import ProcessBound
from eas_tw.queue.commits import CommitBatches
from eas_tw.queue.frames import frame_of
from eas_tw.queue.iteration import FrameIterator
from eas_tw.queue.reconnecting import Reconnecting
from eas_tw.queue.wire import as_indexes
from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.errors import EasError
    from eas_tw.policy.instances import Instance
    from eas_tw.queue.frames import Frame
    from eas_tw.queue.watched_queue import WatchedQueue
    from eas_tw.queue.watching import Watching

    Frames = int | Frame | Iterable[int | Frame]

STALE_COUNTS_S = 30.0
"""Time in seconds after which frames of earlier connections that were not sent again do not count in the window."""


class Watcher(FrameIterator, ProcessBound):
    """Reads the frames of a queue as they appear.

        async with queue.watch(window=32) as watcher:
            async for frame in watcher:
                ...
                await watcher.commit(frame)

    When the connection is lost, another one is opened, which watches from the first frame that may be uncommitted. Each
    frame is returned at least once; a frame that the reader already has, or has committed, is not returned again.
    Iteration ends when the watcher is closed, or when the service ends the stream. It fails with `ConfigError` if the
    function given as token fails when another connection is opened.

    Args:
        queue: The queue.
        watching: The state of the watch.

    Attributes:
        suffix: The path of this queue relative to the path of the client's queue.
    """

    def __init__(self, queue: WatchedQueue, watching: Watching) -> None:
        self.suffix = queue.suffix
        self._queue = queue
        self._watching = watching
        self._commits = CommitBatches(self._send_commit, queue.not_committed)
        self._connections = Reconnecting(queue, watching, self)
        self._stale_timer: IDelayedCall | None = None
        self._opening: Deferred[Watcher] | None = None
        self._open_timer: IDelayedCall | None = None
        self._reader: Deferred[Frame | None] | None = None
        self._error: EasError | None = None
        self._is_begun = self._is_over = self._is_closed = self._is_abandoned = self._is_delivering = False
        self._closing: list[Deferred[None]] = []

    def __repr__(self) -> str:
        state = "closed" if self._is_over else "open" if self.instance is not None else "connecting"
        return f"<Watcher of {self._queue.name} {state if self._is_begun else 'new'}>"

    @property
    def instance(self) -> Instance | None:
        """The instance, or the gateway, that sends the frames; `None` while there is no connection."""
        return self._connections.instance

    # -- called by the program

    def open(self) -> Deferred[Watcher]:
        """Start to watch; this can be called once.

        Returns:
            A Deferred that

            1. fires with the watcher when the service has accepted the watch;
            2. fails with `StatusError` if the service rejects it, for example because of a wrong token;
            3. fails with `ConnectionFailed` if no instance has accepted it within the client's `timeout_s`;
            4. fails with `ClientClosed` if the watcher is closed before the service has accepted the watch;
            5. fails with `ConfigError` if the function given as token fails.
        """
        if self._is_begun:
            return fail(ConfigError("a watcher is opened once; call watch() again for another one"))
        if self._is_over:
            return fail(ClientClosed("the watcher is closed"))
        self._is_begun = True
        self._queue.opened(self)
        opening = self._opening = Deferred(self._opening_cancelled)
        self._open_timer = self._queue.reactor.callLater(self._queue.open_within_s, self._open_timed_out)
        self._connections.start()
        return opening

    def next_frame(self) -> Deferred[Frame | None]:
        """Wait for the next frame.

        Returns:
            A Deferred that

            1. fires with the frame;
            2. fires with `None` when the watcher is closed, or the service has ended the stream;
            3. fails with the error that has ended the watch.

            Cancelling the Deferred loses no frame. As long as the reader has `window` frames that are neither committed
            nor rejected, no frame is returned.
        """
        if self._reader is not None:
            return fail(ConfigError("a watcher has one reader at a time: wait for the frame before asking for another"))
        if not self._is_begun:
            return fail(ConfigError("the watcher is not open: use it in `async with`, or call open()"))
        # While `_deliver` calls the reader, only `_deliver` passes frames. Otherwise each frame would be a nested call.
        frame = None if self._is_delivering else self.ready_frame()
        if frame is not None:
            return succeed(frame)
        self._watch_stale()
        if self._is_over and not (self._is_delivering and self._watching.has_unread):
            error, self._error = self._error, None
            return succeed(None) if error is None else fail(error)
        reader: Deferred[Frame | None] = Deferred(self._reader_cancelled)
        self._reader = reader
        return reader

    def ready_frame(self) -> Frame | None:
        """Return the next frame if it has arrived and no `next_frame` is pending; otherwise `None`, also at the end."""
        if self._reader is not None:
            return None
        frame = self._watching.next_frame()
        self._connections.resume_if_read()
        return frame

    def take_back(self, frame: Frame | None) -> None:
        """Make a frame that `next_frame` has returned, and that its reader could not use, the next frame again.

        Args:
            frame: The frame; `None` has no effect.
        """
        if frame is not None and not self._is_closed:
            self._watching.taken_back(frame)
            self._deliver()

    def commit(self, frames: Frames) -> Deferred[None]:
        """Commit frames for the client's group, so that the service does not send them to the group again.

        Commits that are made while another commit request is in flight are sent together.

        Args:
            frames: A frame, an index, or several of these.

        Returns:
            A Deferred that fires when the service has committed the frames. It fails if the request fails, or does not
            succeed within the client's `timeout_s`. Then the program may commit the frames again.
        """
        try:
            return self._commits.commit(as_indexes(frames))
        except Exception as error:  # noqa: BLE001  the caller's iterable may raise any exception
            return fail(error)

    def reject(self, frames: Frames, code: str = "Rejected", reason: str = "") -> Deferred[None]:
        """Reject frames: the service sends them to another consumer of the group.

        Args:
            frames: A frame, an index, or several of these.
            code: A machine-readable reason, at most 20 letters, digits and dots. `Shutdown` means that this consumer is
                about to end.
            reason: A human-readable reason.

        Returns:
            A Deferred that fires when the service has accepted the request.
        """
        try:
            indexes = as_indexes(frames)
            rejecting = self._queue.reject(indexes, code, reason)
        except Exception as error:  # noqa: BLE001  the caller's iterable may raise any exception
            return fail(error)

        if not rejecting.called:  # otherwise the request was not sent
            self._watching.rejecting(indexes)

        def rejected(_: object) -> None:
            self.was_rejected(indexes)

        return rejecting.addCallback(rejected)

    def close(self) -> Deferred[None]:
        """Stop watching: wait for the pending commits, then close the connection gracefully.

        The service sends frames that are not committed to another consumer, including frames that have arrived and were
        not read.

        Returns:
            A Deferred that fires when no socket and no timer is left. `close` may be called several times.
        """
        closed: Deferred[None] = Deferred()
        self._closing.append(closed)
        self._is_begun = self._is_closed = True
        self._watching.drop_unread()
        self._finish(None)
        self._tell_if_gone()
        return closed

    # -- called by the client

    def abandon(self) -> None:
        """Close the connection without waiting for commits, because the client's `drain_timeout_s` has passed."""
        self._is_abandoned = True
        self._disconnect(None)

    def was_committed(self, indexes: Iterable[int]) -> None:
        """Record that the client, not this watcher, has committed or deleted frames of this queue."""
        self._watching.committed(indexes)
        self._deliver()

    def is_rejecting(self, indexes: Iterable[int]) -> None:
        """Record that the client has sent a request that rejects frames of this queue."""
        self._watching.rejecting(indexes)

    def was_rejected(self, indexes: Iterable[int]) -> None:
        """Record that the client has rejected frames of this queue."""
        self._watching.rejected(indexes)
        self._deliver()

    def was_truncated(self, index: int) -> None:
        """Record that the client has deleted the frames whose index is less than `index`."""
        self._watching.truncated(index)
        self._deliver()

    # -- called by the connections (`ReconnectingOwner`)

    def watch_opened(self) -> None:
        """Handle the opening of a connection."""
        self._stop_open_timer()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.callback(self)

    def watch_received(self, instance: Instance, frames: Sequence[bytes]) -> None:
        """Decode frames, and pass them to the reader."""
        record, watching = self._queue.record, self._watching
        error: BodyError | None = None
        for data in frames:
            if self._is_over:
                return  # a listener has closed the watcher; the service will send the frame to another consumer
            try:
                frame = frame_of(data)
            except BodyError as found:
                error = found
                break
            is_new = watching.received(frame)
            record.frame_received(instance, frame.index, is_repeated=not is_new)
        self._deliver()
        if self._is_over:
            return
        if error is not None:
            self._connections.replace(Outcome(AttemptStatus.VIOLATION, detail=str(error)))
        else:
            self._connections.pause_if_full()

    def watch_ended(self, error: EasError | None) -> None:
        """Handle the end of the watch, by an error or by the service."""
        self._finish(error)

    def watch_disconnected(self) -> None:
        """Handle the release of the last socket of the watch."""
        self._tell_if_gone()

    # -- internals

    def _deliver(self) -> None:
        """Pass frames to the reader, as long as it calls `next_frame` in its callback."""
        if self._is_delivering:
            return
        self._is_delivering = True
        while (reader := self._reader) is not None:
            frame = self._watching.next_frame()
            if frame is None:
                self._watch_stale()
                break
            self._reader = None
            reader.callback(frame)
        self._is_delivering = False
        self._connections.resume_if_read()

    def _watch_stale(self) -> None:
        """Start a timer if frames of earlier connections fill the window, because new frames must not wait forever."""
        if self._watching.is_at_window and self._stale_timer is None and not self._is_over:
            self._stale_timer = self._queue.reactor.callLater(STALE_COUNTS_S, self._forget_stale)

    def _forget_stale(self) -> None:
        self._stale_timer = None
        self._watching.forget_stale()
        self._deliver()

    def _opening_cancelled(self, _: Deferred[Watcher]) -> None:
        self._opening = None
        self._finish(None)

    def _reader_cancelled(self, reader: Deferred[Frame | None]) -> None:
        if self._reader is reader:
            self._reader = None

    def _send_commit(self, indexes: tuple[int, ...]) -> Deferred[Any]:
        sending = self._queue.commit(indexes)

        def committed(result: Any) -> Any:
            self._watching.committed(indexes)
            self._deliver()
            return result

        return sending.addCallback(committed)

    def _open_timed_out(self) -> None:
        self._open_timer = None
        why = str(self._connections.last_outcome or "no instance has answered")
        within_s = self._queue.open_within_s
        self._finish(ConnectionFailed(f"the watch of {self._queue.name} was not open within {within_s:g} s: {why}"))

    def _stop_open_timer(self) -> None:
        timer, self._open_timer = self._open_timer, None
        if timer is not None:
            timer.cancel()

    def _finish(self, error: EasError | None) -> None:
        """End the watch.

        Args:
            error: The error for the reader; `None` for none.
        """
        if self._is_over:
            return
        self._is_over = True
        self._error = error
        self._connections.stop()
        self._stop_open_timer()
        timer, self._stale_timer = self._stale_timer, None
        if timer is not None:
            timer.cancel()
        # Disconnect only after the commits, because the service sends uncommitted frames to other consumers when the
        # connection is closed.
        self._commits.when_idle().addCallback(self._disconnect)
        opening, self._opening = self._opening, None
        if opening is not None:
            self._error = None
            opening.errback(error or ClientClosed("the watcher was closed"))
        reader, self._reader = self._reader, None
        if reader is not None:
            self._error = None
            if error is None:
                reader.callback(None)
            else:
                reader.errback(error)

    def _disconnect(self, _: object) -> None:
        self._connections.close()
        self._tell_if_gone()

    def _tell_if_gone(self) -> None:
        if self._connections.is_held or not self._is_over:
            return
        if self._is_abandoned:
            self._gone(None)
        else:
            self._commits.when_idle().addCallback(self._gone)

    def _gone(self, _: object) -> None:
        self._queue.closed(self)
        closing, self._closing = self._closing, []
        for closed in closing:
            try:
                closed.callback(None)
            except BaseException:  # noqa: BLE001  the other Deferreds must fire, too
                contain(self._queue.reactor.callLater, "the end of a watcher could not be reported")
