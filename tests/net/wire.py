"""A transport in memory: records what was written and closed, and delivers responses."""

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
    """A string transport that reports closing to the protocol once, as TCP does."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.is_open = True
        self.aborted = False
        self.no_delay = False
        self.is_paused = False
        self.holds_on = False  # as TLS does until the other end has closed

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
        """Close the connection from the peer's side, in order unless an error is given."""
        if self.is_open:
            self.is_open = False
            self.protocol.connectionLost(Failure(error or ConnectionDone()))

    def take(self) -> bytes:
        """Return what was written since the last call."""
        written = self.value()
        self.clear()
        return written


class Witness:
    """Owner and exchange that records every callback."""

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
