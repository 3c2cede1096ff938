"""The small requests of one turn of the reactor, written together at its end.

Twisted's own `write` waits for the reactor to report that the socket is writable: two system calls and a dispatch to
learn what holds for every idle connection. Writing at once is worse: with the caller's work between two writes the
other end falls asleep and has to be woken for each (docs/performance has the figures). So connections with a request
to send gather here, and one delayed call lets each write to its socket itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime


class Writer(Protocol):
    """Who has something to write."""

    def flush(self) -> None:
        """Write it now."""

    def abort(self) -> None:
        """Close the connection: what it had to write cannot be written."""


class Flusher:
    """Lets everyone write at the end of the turn.

    Args:
        clock: The reactor.

    Attributes:
        seconds: Its time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.seconds = clock.seconds
        self._writers: list[Writer] = []

    def soon(self, writer: Writer) -> None:
        """Call `writer.flush()` when the reactor has done what it is doing."""
        if not self._writers:
            self._clock.callLater(0, self._flush)
        self._writers.append(writer)

    def _flush(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            try:
                writer.flush()
            except BaseException:  # noqa: BLE001  the requests of the other writers must leave all the same
                contain(self._clock.callLater, "a request could not be written")
                # The call that carries it ends by its connection's loss.
                self._clock.callLater(0, writer.abort)
