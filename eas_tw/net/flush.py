"""Writing of the small requests of one turn of the reactor together, at its end.

Twisted's own `write` waits until the reactor reports that the socket is writable, which costs two system calls and a
dispatch, although an idle connection is always writable. Writing immediately costs even more: the server's process goes
to sleep between two writes, and must be woken for each (figures in docs/performance). So the connections with a request
to send are collected, and one delayed call lets each of them write to its socket.

The delayed call is `callLater(0, …)`. In a turn, Twisted's reactors first run the functions of `callFromThread`, then
the timers that are due, and then poll the sockets and handle their events. The time at which requests are written
therefore depends on the code that has made them:

1. Code that runs on the event of a socket: the requests are written after the events of all sockets of this poll,
   without another poll.
2. A function of `callFromThread`: the requests are written with the timers of the same turn, which run next.
3. A timer: the requests are written after the next poll, which does not wait, and after the events of that poll. The
   reason is that a timer that is added while timers run is not run before the next turn.

With Twisted's asyncio reactor, a poll that does not wait precedes the writing in each of these cases.
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
    """Flushes all writers together, in a timer without delay (the module's docstring says when it runs).

    Args:
        clock: The reactor.

    Attributes:
        seconds: The reactor's `seconds`, a function that returns the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.seconds = clock.seconds
        self._writers: list[Writer] = []

    def soon(self, writer: Writer) -> None:
        """Call `writer.flush()` when the timers that are due run next."""
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
                # The connection is aborted, because the call of the request ends when its connection is lost.
                self._clock.callLater(0, writer.abort)
