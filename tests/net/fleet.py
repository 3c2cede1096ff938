"""A reactor whose connections are in memory: a test accepts, refuses or ignores them."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError, UserError  # noqa: A004
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.net.wire import Wire


class Dial:
    """A pending `connectTCP`, which a test accepts or fails. It is also the connector that `connectTCP` returns."""

    def __init__(self, reactor: PuppetReactor, address: tuple[str, int], factory: Any, timeout: float) -> None:
        self.reactor = reactor
        self.address = address
        self.factory = factory
        self.timeout = timeout

    def accept(self) -> Wire:
        """Accept the connection."""
        self.reactor.dials.remove(self)
        protocol = self.factory.buildProtocol(None)
        wire = Wire(protocol)
        self.reactor.wires.append(wire)
        protocol.makeConnection(wire)
        return wire

    def fail(self, error: Exception | None = None) -> None:
        """Fail the connection attempt, by default with `ConnectionRefusedError`."""
        self.reactor.dials.remove(self)
        self.factory.clientConnectionFailed(self, Failure(error or ConnectionRefusedError()))

    def getDestination(self) -> IPv4Address:  # noqa: N802
        return IPv4Address("TCP", *self.address)

    def stopConnecting(self) -> None:  # noqa: N802
        self.fail(UserError())


class PuppetReactor(Clock):
    """A reactor whose time and connections are controlled by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.dials: list[Dial] = []
        self.wires: list[Wire] = []

    def connectTCP(  # noqa: N802
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: N803
    ) -> Dial:
        dial = Dial(self, (host, port), factory, timeout)
        self.dials.append(dial)
        factory.startedConnecting(dial)
        return dial
