"""A transport in memory that records what is written and closed, and delivers bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from eas_tw.net.http1 import ClientConnection
    from eas_tw.policy.outcomes import Outcome


class Wire(StringTransport):
    """A string transport that calls `connectionLost` once after a close, as a TCP transport does."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.is_open = True
        self.aborted = False
        self.no_delay = False
        self.is_paused = False
        self.holds_on = False  # whether `loseConnection` waits for the peer's close, as with TLS

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001, N802
        self.no_delay = enabled

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: FBT001
        super().registerProducer(producer, streaming)
        if not streaming:
            producer.resumeProducing()

    def loseConnection(self) -> None:
        super().loseConnection()
        if not self.holds_on:
            self.lose(ConnectionDone())

    def abortConnection(self) -> None:
        self.aborted = True
        self.lose(ConnectionLost())

    def lose(self, error: Exception | None = None) -> None:
        """Close the connection as the peer does: cleanly, or with an error."""
        if self.is_open:
            self.is_open = False
            self.protocol.connectionLost(Failure(error or ConnectionDone()))

    def take(self) -> bytes:
        """Return the bytes that were written since the previous call."""
        written = self.value()
        self.clear()
        return written


class Witness:
    """An owner of a connection, and an exchange, that record each callback."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connection_made(self, connection: ClientConnection) -> None:
        self.events.append("made")

    def connection_free(self, connection: ClientConnection) -> None:
        self.events.append("free")

    def connection_lost(self, connection: ClientConnection) -> None:
        self.events.append("gone")

    on_head: Any = None

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        self.events.append((status, body))

    def broke(self, outcome: Outcome) -> None:
        self.events.append(outcome.attempt_status)
