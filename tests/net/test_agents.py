"""The connections to the control plane and the gateway are counted, and closed before `close` fires."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from eas_tw.net.agent_fetch import collect
from eas_tw.net.agents import Agents, _CountingFactory
from eas_tw.net.gateway import _WholeBody
from tests.net.hand import HandReactor
from tests.net.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@implementer(IStreamClientEndpoint)
class Loopback:
    """Opens connections within the process. The server ends are in `ends`, the client's transports in `transports`."""

    def __init__(self) -> None:
        self.reactor = HandReactor()
        self.ends: list[socket.socket] = []
        self.transports: list[Connection] = []
        self.agents = Agents(self.reactor, connect_timeout_s=1.0, keep=10)  # type: ignore[arg-type]
        self.agents._endpoints._endpoints = self  # type: ignore[assignment]

    def tcp(self, host: str, port: int) -> Loopback:
        return self

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocol = protocolFactory.buildProtocol(None)
        with socket.create_server(("127.0.0.1", 0)) as server:
            near = socket.create_connection(server.getsockname())
            far, _ = server.accept()
        far.settimeout(10)
        transport = Connection(near, protocol, self.reactor)  # type: ignore[arg-type]
        transport.connected = 1
        transport.startReading()
        protocol.makeConnection(transport)
        self.ends.append(far)
        self.transports.append(transport)
        return succeed(protocol)

    def ask(self, meanwhile: Any = None) -> list[Any]:
        """Send a request. The returned list receives the body of the response or a `Failure`."""
        got: list[Any] = []
        asking = self.agents.agent.request(b"GET", b"http://127.0.0.1/")
        if meanwhile is not None:
            meanwhile(self.ends[0])
        self.is_written = self.agents.flush()
        asking.addCallback(collect, 1000).addBoth(got.append)
        return got

    def turn(self) -> None:
        """Run one reactor iteration. As in Twisted's reactors, a socket is read before it is written to."""
        for transport in self.transports:
            if transport in self.reactor.readers:
                assert transport.doRead() is None
            if transport in self.reactor.writers:
                assert transport.doWrite() is None


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    loopback = Loopback()
    yield loopback
    loopback.agents.close()
    loopback.reactor.advance(0)
    for end in loopback.ends:
        end.close()


def connected(agents: Agents) -> Wire:
    """Return a connection that the endpoint has made. The peer never closes this connection."""
    protocol = _CountingFactory(Factory.forProtocol(Protocol), agents._endpoints).buildProtocol(None)
    assert protocol is not None
    wire = Wire(protocol)
    protocol.makeConnection(wire)
    return wire


def test_close_does_not_wait_for_a_silent_peer() -> None:
    agents = Agents(Clock(), connect_timeout_s=1.0)  # type: ignore[arg-type]
    wires = [connected(agents) for _ in range(3)]
    wires[0].lose()
    closed: list[Any] = []
    agents.close().addCallback(closed.append)
    assert [wire.aborted for wire in wires] == [False, True, True]
    assert closed == [None]


def test_close_without_connections_fires_at_once() -> None:
    closed: list[Any] = []
    Agents(Clock(), connect_timeout_s=1.0).close().addCallback(closed.append)  # type: ignore[arg-type]
    assert closed == [None]


SURPRISES = {
    "a response": lambda far: far.send(OK + b"first"),
    "a close": lambda far: far.shutdown(socket.SHUT_WR),
    "a reset": lambda far: (far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)), far.close()),
}


@pytest.mark.parametrize("surprise", SURPRISES.values(), ids=SURPRISES.keys())
def test_an_idle_connection_that_received_bytes_is_not_reused(loopback: Loopback, surprise: Any) -> None:
    one = loopback.ask()
    loopback.turn()
    (far,) = loopback.ends
    assert far.recv(1000).startswith(b"GET / ")
    far.send(OK + b"hello")
    loopback.turn()
    assert one == [b"hello"]
    surprise(far)
    two = loopback.ask()
    loopback.reactor.advance(0)
    _, fresh = loopback.ends
    loopback.turn()
    assert fresh.recv(1000).startswith(b"GET / ")
    fresh.send(OK + b"again")
    loopback.turn()
    assert two == [b"again"]


@pytest.mark.parametrize("surprise", SURPRISES.values(), ids=SURPRISES.keys())
def test_bytes_that_arrive_before_the_write_make_the_request_unsent(loopback: Loopback, surprise: Any) -> None:
    loopback.ask()
    loopback.turn()
    (far,) = loopback.ends
    far.recv(1000)
    far.send(OK + b"hello")
    loopback.turn()
    assert loopback.is_written
    two = loopback.ask(surprise)
    assert not loopback.is_written
    loopback.reactor.advance(0)
    assert isinstance(two[0], Failure)
    with contextlib.suppress(OSError):
        assert far.recv(1000) == b""


def test_a_request_on_an_idle_connection_is_written_immediately(loopback: Loopback) -> None:
    one = loopback.ask()
    loopback.turn()
    (far,) = loopback.ends
    far.recv(1000)
    far.send(OK + b"hello")
    loopback.turn()
    two = loopback.ask()
    assert far.recv(1000, socket.MSG_DONTWAIT).startswith(b"GET / ")
    far.send(OK + b"again")
    loopback.turn()
    assert (one, two) == ([b"hello"], [b"again"])
    assert len(loopback.ends) == 1


def test_a_connection_with_a_half_written_request_is_not_kept(loopback: Loopback) -> None:
    """A server that responds early could parse the rest of the body as the next request."""
    got: list[Any] = []
    body = _WholeBody(bytes(2**24))  # larger than the sockets' buffers
    asking = loopback.agents.agent.request(b"POST", b"http://127.0.0.1/", bodyProducer=body)
    asking.addCallback(collect, 1000).addBoth(got.append)
    loopback.turn()
    (far,) = loopback.ends
    far.send(OK + b"early")
    loopback.turn()
    assert got == [b"early"]
    loopback.reactor.advance(0)
    loopback.ask()
    assert len(loopback.ends) == 2


def test_an_idle_connection_that_is_closing_is_not_reused(loopback: Loopback) -> None:
    loopback.ask()
    loopback.turn()
    (far,) = loopback.ends
    far.send(OK + b"hello")
    loopback.turn()
    loopback.transports[0].protocol.loseConnection()  # type: ignore[attr-defined]
    loopback.ask()
    assert len(loopback.ends) == 2
