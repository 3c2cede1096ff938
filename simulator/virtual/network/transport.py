"""Twisted's own TCP transports, on sockets in memory.

How a connection behaves towards its protocol (what is still written after `loseConnection`, when a producer is paused,
what a close inside `dataReceived` does) is Twisted's code, unchanged; only the sockets under it are ours.
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
        """A socket of the host's network."""
        # Called before Twisted's own constructor has run.
        reactor = self.connector.reactor
        if reactor.failing.is_on:
            reactor.failing.check("socket")
        return VirtualSocket(reactor.network, reactor)

    def write(self, data: bytes) -> None:
        """Send (`ITransport`)."""
        if self.disconnected:
            self.reactor.written_after_loss += 1
        super().write(data)  # type: ignore[no-untyped-call]


class VirtualConnector(tcp.Connector):
    """A connection being opened, then open, as its factory sees it."""

    def connectionLost(self, reason: Any) -> None:
        """It was open, and is no more; the circles with transport and factory are cut, to spare the collector."""
        lost = self.transport
        super().connectionLost(reason)
        if self.transport is lost:
            self.transport = None
            # Nobody connects it again.
            self.factory = None  # type: ignore[assignment]

    def buildProtocol(self, addr: Any) -> Any:
        """It is open (`IConnector`)."""
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
    """An address where connections are accepted."""

    transport = VirtualServer

    def createInternetSocket(self) -> Any:  # noqa: N802
        """A socket of the host's network."""
        reactor: Any = self.reactor
        return VirtualSocket(reactor.network, reactor)
