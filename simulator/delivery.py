"""An answer that does not go out whole and at once: pieces with pauses, and what becomes of the connection then.

A `Wire` says what is to happen; `Pacer` does it on a transport. Knows no fault: `response_faults` makes wires of
faults.
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
    """What becomes of a connection after an answer."""

    KEEP = "keep"
    CLOSE = "close"
    """An orderly FIN."""
    RESET = "reset"
    """An RST."""
    HANG = "hang"
    """It stays open, and says and reads nothing any more."""


@frozen
class IdleEnd:
    """A kept connection that will be closed unannounced.

    Attributes:
        after_s: This long after the answer, unless a request comes before.
        at_next_request: When the next request arrives, instead; it stays unanswered.
        reset: With an RST, not a FIN.
    """

    after_s: float = 0.0
    at_next_request: bool = False
    reset: bool = False


@frozen
class Wire:
    """An answer as it goes out.

    Attributes:
        pieces: What goes out, each after a pause in seconds; each in a segment of its own, as far as TCP lets.
        ending: What becomes of the connection.
        after_s: Pause before the ending.
        idle_end: Of a connection that is kept.
    """

    pieces: Iterable[tuple[float, bytes]] = ()
    ending: Ending = Ending.KEEP
    after_s: float = 0.0
    idle_end: IdleEnd | None = field(default=None)


@implementer(IPullProducer)
class Pacer:
    """Sends one wire: each piece when the one before has left, so that an ending never overtakes the bytes.

    Args:
        clock: For the pauses.
        transport: Where it goes.
        wire: What goes.
        done: Called when the ending is due, unless the connection is lost before.
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
        """Begin to send."""
        self._transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The transport has sent everything so far (`IPullProducer`)."""
        if self._is_over or self._timer is not None:
            return
        found = next(self._pieces, None)
        if found is None:
            self._after(self._wire.after_s, self._end)
        else:
            pause_s, data = found
            self._after(pause_s, self._send, data)

    def stopProducing(self) -> None:
        """The connection is lost (`IProducer`)."""
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
