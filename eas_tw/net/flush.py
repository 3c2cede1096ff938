"""Writing of the small requests of one turn of the reactor together, at its end.

Twisted's own `write` waits until the reactor reports that the socket is writable, which costs two system calls and a
dispatch, although an idle connection is always writable. Writing immediately costs even more: the server's process goes
to sleep between two writes, and must be woken for each (figures in docs/performance). So the connections with a request
to send are collected, and one delayed call lets each of them write to its socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime


class Writer(Protocol):
    """A connection with something to write."""

    def flush(self) -> None:
        """Write the pending request to the socket now."""

    def abort(self) -> None:
        """Close the connection, because its request cannot be written."""


class Flusher:
    """Flushes all writers at the end of the reactor's turn.

    Args:
        clock: The reactor.

    Attributes:
        seconds: The reactor's clock.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.seconds = clock.seconds
        self._writers: list[Writer] = []

    def soon(self, writer: Writer) -> None:
        """Call `writer.flush()` at the end of the current turn."""
        if not self._writers:
            self._clock.callLater(0, self._flush)
        self._writers.append(writer)

    def _flush(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            try:
                writer.flush()
            except BaseException:  # noqa: BLE001  the requests of the other writers must still be sent
                contain(self._clock.callLater, "a request could not be written")
                # The call of this request ends when its connection is lost.
                self._clock.callLater(0, writer.abort)
