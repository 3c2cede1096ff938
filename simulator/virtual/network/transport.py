"""Twisted's own TCP transports on in-memory sockets.

Twisted's unchanged code determines the behaviour of a connection towards its protocol, for example writes after
`loseConnection`, pauses of a producer, or a close inside `dataReceived`. Only the sockets are simulated.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp

from simulator.virtual.network.sockets import VirtualSocket


class VirtualServer(tcp.Server):
    """The accepted end of a connection."""


class VirtualClient(tcp.Client):
    """The connecting end of a connection."""

    reactor: Any

    def createInternetSocket(self) -> Any:  # noqa: N802
        """Create a socket on the host's network."""
        # Twisted's constructor, which sets `self.reactor`, runs after this.
        reactor = self.connector.reactor
        if reactor.failing.is_on:
            reactor.failing.check("socket")
        return VirtualSocket(reactor.network, reactor)

    def write(self, data: bytes) -> None:
        """Send data (`ITransport`)."""
        if self.disconnected:
            self.reactor.written_after_loss += 1
        super().write(data)  # type: ignore[no-untyped-call]


class VirtualConnector(tcp.Connector):
    """A connector for one connection of a client (`IConnector`)."""

    def connectionLost(self, reason: Any) -> None:
        """Handle the loss of the connection, and remove the references to transport and factory to avoid a cycle."""
        lost = self.transport
        super().connectionLost(reason)
        if self.transport is lost:
            self.transport = None
            # The client does not reconnect through the connector.
            self.factory = None  # type: ignore[assignment]

    def buildProtocol(self, addr: Any) -> Any:
        """Build the protocol of the opened connection (`IConnector`)."""
        protocol, reactor = super().buildProtocol(addr), self._host
        if reactor.on_protocol is not None:
            reactor.on_protocol(protocol)
        return protocol

    @property
    def _host(self) -> Any:
        return self.reactor

    def _makeTransport(self) -> VirtualClient:  # noqa: N802
        return VirtualClient(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]


class VirtualPort(tcp.Port):
    """A listening port."""

    transport = VirtualServer

    def createInternetSocket(self) -> Any:  # noqa: N802
        """Create a socket on the host's network."""
        reactor: Any = self.reactor
        return VirtualSocket(reactor.network, reactor)
