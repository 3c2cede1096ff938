"""Delivery of a response in pieces with pauses, and the end of its connection.

A `Wire` describes the delivery, and `Pacer` performs it on a transport. The module is independent of faults;
`response_faults` builds wires from faults.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Ending(Enum):
    """The action on a connection after a response."""

    KEEP = "keep"
    CLOSE = "close"
    """Close with a FIN."""
    RESET = "reset"
    """Close with an RST."""
    HANG = "hang"
    """Keep the connection open, but send and read nothing more."""


@frozen
class IdleEnd:
    """The close of an idle connection without notice.

    Attributes:
        after_s: Seconds from the end of the response to the close. A request that arrives earlier cancels it.
        at_next_request: Whether to close when the next request arrives, without a response, instead of after `after_s`.
        reset: Whether to close with an RST instead of a FIN.
    """

    after_s: float = 0.0
    at_next_request: bool = False
    reset: bool = False


@frozen
class Wire:
    """The delivery of a response.

    Attributes:
        pieces: Pieces to send, each with the pause in seconds before it; each piece is sent in its own segment, as far
            as TCP allows.
        ending: Action on the connection after the last piece.
        after_s: Pause before the ending, in seconds.
        idle_end: Close of the connection without notice while it is idle after the response; `None` for no such close.
    """

    pieces: Iterable[tuple[float, bytes]] = ()
    ending: Ending = Ending.KEEP
    after_s: float = 0.0
    idle_end: IdleEnd | None = field(default=None)


@implementer(IPullProducer)
class Pacer:
    """Sends one wire. A piece is written when the transport's buffer is empty, so that no ending discards unsent bytes.

    Args:
        clock: Clock for the pauses.
        transport: Transport to write to.
        wire: The delivery to perform.
        done: Called after the last piece and `after_s`, unless the connection is lost before that.
    """

    def __init__(self, clock: Any, transport: Any, wire: Wire, done: Callable[[], None]) -> None:
        self._clock = clock
        self._transport = transport
        self._wire = wire
        self._pieces = iter(wire.pieces)
        self._done = done
        self._timer: Any = None
        self._is_over = False

    def start(self) -> None:
        """Start sending."""
        self._transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Send the next piece, because the transport's buffer is empty (`IPullProducer`)."""
        if self._is_over or self._timer is not None:
            return
        found = next(self._pieces, None)
        if found is None:
            self._after(self._wire.after_s, self._end)
        else:
            pause_s, data = found
            self._after(pause_s, self._send, data)

    def stopProducing(self) -> None:
        """Stop sending, because the connection has been lost (`IProducer`)."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _after(self, pause_s: float, act: Any, *arguments: Any) -> None:
        if pause_s <= 0:
            act(*arguments)
            return
        self._timer = self._clock.callLater(pause_s, self._due, act, *arguments)

    def _due(self, act: Any, *arguments: Any) -> None:
        self._timer = None
        act(*arguments)

    def _send(self, data: bytes) -> None:
        if data:
            self._transport.write(data)
        else:
            self.resumeProducing()

    def _end(self) -> None:
        self._is_over = True
        self._transport.unregisterProducer()
        self._done()
