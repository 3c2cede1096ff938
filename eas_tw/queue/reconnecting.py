"""`Reconnecting`, which keeps a watch connected: after a loss it opens the next connection, to an instance chosen anew.

It decides when a connection is opened, and from which frame on. It passes the bytes of the frames to its owner without
decoding them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

from eas_tw.policy.outcomes import AttemptStatus, Outcome
from eas_tw.queue.connections import WatchEnd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.errors import EasError
    from eas_tw.policy.instances import Instance
    from eas_tw.queue.connections import WatchConnection
    from eas_tw.queue.watched_queue import WatchedQueue
    from eas_tw.queue.watching import Watching

_log = Logger(namespace="eas_tw.queue")


class ReconnectingOwner(Protocol):
    """Receives what happens on the connections of a watch."""

    def watch_opened(self) -> None:
        """Receive that a connection is open."""

    def watch_received(self, instance: Instance, frames: Sequence[bytes]) -> None:
        """Receive the bytes of frames."""

    def watch_ended(self, error: EasError | None) -> None:
        """Receive that there will be no further connection, and why; `None` if the service has ended the stream."""

    def watch_disconnected(self) -> None:
        """Receive that no connection holds a socket."""


class Reconnecting:
    """The connections of one watch, one at a time (`WatchOwner`).

    Args:
        queue: Opens the connections.
        watching: Decides from which frame the next connection watches, and after what pause.
        owner: Receives the reports.

    Attributes:
        instance: The instance, or the gateway, that sends the frames; `None` while there is no connection.
        last_outcome: How the last connection ended; `None` if none has.
    """

    def __init__(self, queue: WatchedQueue, watching: Watching, owner: ReconnectingOwner) -> None:
        self._queue = queue
        self._watching = watching
        self._owner = owner
        self._connection: WatchConnection | None = None
        self._held = 0  # connections that hold a socket
        self._retry: IDelayedCall | None = None
        self._asked_index = 0
        self._was_open = self._is_paused = self._is_stopped = False
        self.instance: Instance | None = None
        self.last_outcome: Outcome | None = None

    @property
    def is_held(self) -> bool:
        """Whether a connection holds a socket."""
        return self._held > 0

    def start(self) -> None:
        """Open the first connection."""
        self._queue.prepare().addBoth(lambda _: self._connect())

    def pause_if_full(self) -> None:
        """Stop reading from the connection if too many frames are unread."""
        if self._watching.is_full and not self._is_paused and self._connection is not None:
            self._is_paused = True
            self._connection.pause()

    def resume_if_read(self) -> None:
        """Continue reading from the connection if few enough frames are unread."""
        if self._is_paused and not self._watching.is_full and self._connection is not None:
            self._is_paused = False
            self._connection.resume()

    def replace(self, outcome: Outcome) -> None:
        """Close the connection because the client wants a new one, and open that after a pause."""
        instance, connection, self._connection = self.instance, self._connection, None
        if connection is not None:
            connection.abort()
        self.connection_ended(WatchEnd(instance, outcome))

    def stop(self) -> None:
        """Open no further connection; the current one stays open until `close`, without reports."""
        self._is_stopped = True
        self.instance = None
        retry, self._retry = self._retry, None
        if retry is not None:
            retry.cancel()

    def close(self) -> None:
        """Close the connection in order."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- reports of the connection

    def connection_opened(self, instance: Instance) -> None:
        """Receive that a connection is open (`WatchOwner`)."""
        if self._is_stopped:
            return
        self.instance = instance
        is_reconnect, self._was_open = self._was_open, True
        self._queue.record.watch_opened(instance, self._asked_index, is_reconnect=is_reconnect)
        self._owner.watch_opened()
        if is_reconnect and self._watching.has_moved and not self._is_stopped:
            self._queue.last_index().addCallback(self._compare, self._connection)

    def connection_received(self, instance: Instance, frames: Sequence[bytes]) -> None:
        """Receive frames (`WatchOwner`)."""
        if not self._is_stopped:
            self._owner.watch_received(instance, frames)

    def connection_ended(self, end: WatchEnd) -> None:
        """Receive the end of the connection, and plan the next one (`WatchOwner`)."""
        self._connection = self.instance = None
        self._is_paused = False
        self.last_outcome = end.outcome
        if self._is_stopped:
            return
        if end.error is not None:
            self._owner.watch_ended(end.error)
        elif end.may_be_complete:
            self._queue.has_ended().addCallback(self._go_on, end)
        else:
            self._go_on(False, end)

    def connection_gone(self) -> None:
        """Receive that a connection holds no socket and no timer any more (`WatchOwner`)."""
        self._held -= 1
        if not self._held:
            self._owner.watch_disconnected()

    # -- internals

    def _go_on(self, has_ended: bool, end: WatchEnd) -> None:  # noqa: FBT001  a callback
        """Plan the next connection, unless the stream of frames has ended."""
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
        """Begin again if the newest frame is older than the committed ones, because then the queue was recreated.

        An empty queue leads to the same, which does no harm: the service does not send a committed frame again.
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
        self._held += 1
        self._connection = self._queue.connect(self._asked_index, self)
