"""`Reconnecting`, which keeps a watch connected: when a connection is lost, it opens another one after a pause.

The balancer chooses the instance of each connection. The bytes of frames are passed to the owner without decoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

from eas_tw.errors import ConfigError
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from eas_tw.queue.connections import WatchEnd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from eas_tw.errors import EasError
    from eas_tw.policy.instances import Instance
    from eas_tw.queue.connections import WatchConnection
    from eas_tw.queue.watched_queue import WatchedQueue
    from eas_tw.queue.watching import Watching

_log = Logger(namespace="eas_tw.queue")


class ReconnectingOwner(Protocol):
    """The receiver of reports about the connections of a watch."""

    def watch_opened(self) -> None:
        """Handle the opening of a connection."""

    def watch_received(self, instance: Instance, frames: Sequence[bytes]) -> None:
        """Handle the bytes of frames."""

    def watch_ended(self, error: EasError | None) -> None:
        """Handle the end of the watch, after which no connection is opened.

        Args:
            error: The error that ended the watch; `None` if the service has ended the stream.
        """

    def watch_disconnected(self) -> None:
        """Handle the release of the last socket of the watch."""


class Reconnecting:
    """The connections of a watch, of which at most one is in use at a time (implements `WatchOwner`).

    Args:
        queue: The queue, which opens the connections.
        watching: The state of the watch, which has the start index of the next connection and the length of the pause
            before it.
        owner: The receiver of the reports.

    Attributes:
        instance: The instance, or the gateway, that sends the frames; `None` while there is no connection.
        last_outcome: The outcome of the last connection; `None` if none has ended.
    """

    def __init__(self, queue: WatchedQueue, watching: Watching, owner: ReconnectingOwner) -> None:
        self._queue = queue
        self._watching = watching
        self._owner = owner
        self._connection: WatchConnection | None = None
        self._held = 0  # number of connections that may have a socket
        self._retry: IDelayedCall | None = None
        self._asked_index = 0
        self._was_open = self._is_paused = self._is_stopped = False
        self.instance: Instance | None = None
        self.last_outcome: Outcome | None = None

    @property
    def is_held(self) -> bool:
        """Whether a connection may have a socket."""
        return self._held > 0

    def start(self) -> None:
        """Open the first connection."""
        self._queue.prepare().addCallbacks(lambda _: self._connect(), self._token_failed)

    def pause_if_full(self) -> None:
        """Stop reading from the connection if too many frames or bytes are unread."""
        if self._watching.is_full and not self._is_paused and self._connection is not None:
            self._is_paused = True
            self._connection.pause()

    def resume_if_read(self) -> None:
        """Continue reading from a paused connection if enough frames have been read."""
        if self._is_paused and not self._watching.is_full and self._connection is not None:
            self._is_paused = False
            self._connection.resume()

    def replace(self, outcome: Outcome) -> None:
        """Close the connection, and open another one after a pause.

        Args:
            outcome: The reason, which is recorded as the outcome of the connection.
        """
        instance, connection, self._connection = self.instance, self._connection, None
        if connection is not None:
            connection.abort()
        self.connection_ended(WatchEnd(instance, outcome))

    def stop(self) -> None:
        """Open no further connection; the current connection stays open until `close`, but its reports are ignored."""
        self._is_stopped = True
        self.instance = None
        retry, self._retry = self._retry, None
        if retry is not None:
            retry.cancel()

    def close(self) -> None:
        """Close the connection gracefully."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- called by the connection (`WatchOwner`)

    def connection_opened(self, instance: Instance) -> None:
        """Handle the opening of a connection."""
        if self._is_stopped:
            return
        self.instance = instance
        is_reconnect, self._was_open = self._was_open, True
        self._queue.record.watch_opened(instance, self._asked_index, is_reconnect=is_reconnect)
        self._owner.watch_opened()
        if is_reconnect and self._watching.has_moved and not self._is_stopped:
            asking = self._queue.last_index()
            asking.addCallbacks(self._compare, self._token_failed, callbackArgs=(self._connection,))

    def connection_received(self, instance: Instance, frames: Sequence[bytes]) -> None:
        """Pass frames to the owner."""
        if not self._is_stopped:
            self._owner.watch_received(instance, frames)

    def connection_ended(self, end: WatchEnd) -> None:
        """Handle the end of the connection: end the watch, or schedule the next connection."""
        self._connection = self.instance = None
        self._is_paused = False
        self.last_outcome = end.outcome
        if self._is_stopped:
            return
        if end.error is not None:
            self._owner.watch_ended(end.error)
        elif end.may_be_complete:
            self._queue.has_ended().addCallbacks(self._go_on, self._token_failed, callbackArgs=(end,))
        else:
            self._go_on(False, end)

    def connection_gone(self) -> None:
        """Handle the release of a connection's last socket or timer."""
        self._held -= 1
        if not self._held:
            self._owner.watch_disconnected()

    # -- internals

    def _go_on(self, has_ended: bool, end: WatchEnd) -> None:  # noqa: FBT001  a callback
        """Schedule the next connection, unless the stream of frames has ended."""
        if self._is_stopped:
            return
        if has_ended:
            self._owner.watch_ended(None)
            return
        pause_s = self._watching.lost()
        _log.info(
            "{queue}: the watch at {instance} ended: {outcome}; the next one in {pause:.2f} s",
            queue=self._queue.name,
            instance=end.instance.address if end.instance else "no instance",
            outcome=str(end.outcome),
            pause=pause_s,
        )
        self._retry = self._queue.reactor.callLater(pause_s, self._connect)
        self._queue.record.watch_lost(end.instance, end.outcome, pause_s)

    def _compare(self, last_index: int | None, connection: WatchConnection | None) -> None:
        """Restart the watch if committed frames have greater indexes than the newest frame: the queue was recreated.

        The watch also restarts if the queue is empty. This is harmless, because the service does not send committed
        frames again.

        Args:
            last_index: The index of the newest frame, 0 for an empty queue; `None` if it is unknown.
            connection: The connection for which the index was requested.
        """
        is_present = connection is not None and connection is self._connection
        if last_index is None or self._is_stopped or not is_present or last_index >= self._asked_index - 1:
            return
        self._watching.restarted()
        why = f"its newest frame has the index {last_index}, below that of committed ones: the queue was recreated"
        self.replace(Outcome(AttemptStatus.CANCELLED, detail=why))

    def _connect(self) -> None:
        self._retry = None
        if self._is_stopped:
            return
        self._asked_index = self._watching.reconnect_index
        try:
            connection = self._queue.connect(self._asked_index, self)
        except ConfigError as error:
            self._end(error)
            return
        self._use(connection)

    def _use(self, connection: WatchConnection) -> None:
        self._held += 1
        if self._is_stopped:  # the function given as token has closed the watcher
            connection.abort()
        else:
            self._connection = connection

    def _token_failed(self, failure: Failure) -> None:
        """End the watch, because the function given as token has failed for a request of the watch."""
        error: Any = failure.value
        self._end(error)

    def _end(self, error: EasError) -> None:
        if not self._is_stopped:
            self._owner.watch_ended(error)
