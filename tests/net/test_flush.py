"""Requests written at the end of the turn, on real sockets whose reactor is moved by hand."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from eas_tw.net.flush import Flusher
from eas_tw.net.http1 import ClientConnection
from eas_tw.policy.outcomes import Condition
from tests.net.wire import Witness

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LARGE = 60_000


class HandReactor(Clock):
    """Time and a list of who wants to read and write; nothing happens by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:  # noqa: N802
        self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        self.readers = [other for other in self.readers if other is not reader]

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        self.writers = [other for other in self.writers if other is not writer]


class Line(Witness):
    """A connection over a socket pair: owner and exchange on this side, plain bytes on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.reactor = HandReactor()
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.near = socket.create_connection(server.getsockname())
            self.far, _ = server.accept()
        self.near.setblocking(False)
        self.connection = ClientConnection(self, Flusher(self.reactor), max_head_bytes=1000, max_body_bytes=1000)
        self.transport = Connection(self.near, self.connection, self.reactor)
        self.transport.connected = 1
        self.transport.logstr = "line"
        self.transport.startReading()
        self.connection.makeConnection(self.transport)
        assert self.events.pop() == "made"

    def ask(self, body: bytes = b"") -> None:
        self.connection.send(b"HEAD", body, self)

    def arrived(self) -> bytes:
        """What has come out at the other end."""
        try:
            return self.far.recv(10 * LARGE, socket.MSG_DONTWAIT)
        except (BlockingIOError, ConnectionResetError):
            return b""

    def read(self) -> None:
        """The reactor finds the socket readable."""
        assert self.transport.doRead() is None


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.far.close()
    line.near.close()


def test_requests_of_a_turn_leave_at_its_end(line: Line) -> None:
    """Not at once, and without asking the reactor whether the socket is writable."""
    line.ask(b"body")
    assert line.arrived() == b""
    line.reactor.advance(0)
    assert line.arrived() == b"HEADbody"
    assert line.reactor.writers == []
    line.far.send(OK)
    line.read()
    assert line.events == ["free", (200, b"hi")]


def test_one_delayed_call_serves_everyone() -> None:
    """However many have something to write."""

    class Witness:
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    clock, witness = Clock(), Witness()
    flusher = Flusher(clock)
    flusher.soon(witness)
    flusher.soon(witness)
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(0)
    assert witness.flushed == 2
    assert clock.getDelayedCalls() == []


def test_what_the_socket_does_not_take_is_the_transports(line: Line) -> None:
    """The rest follows in order, and nothing overtakes it: not the next request either."""
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    line.ask(b"a" * LARGE)
    line.reactor.advance(0)
    assert line.reactor.writers == [line.transport]
    came = line.arrived()
    line.far.send(OK)
    line.read()
    line.ask(b"b")
    while line.reactor.writers:
        came += line.arrived()
        line.transport.doWrite()
    assert came + line.arrived() == b"HEAD" + b"a" * LARGE + b"HEADb"


def test_an_error_of_the_socket_is_the_transports(line: Line) -> None:
    """Which reports it the way it reports every loss."""
    line.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.far.close()
    line.ask(b"body")
    line.reactor.advance(0)
    assert line.reactor.writers == [line.transport]
    line.transport.connectionLost(Failure(line.transport.doWrite()))
    assert line.events == ["gone", Condition.LOST]


def test_an_abandoned_request_never_leaves(line: Line) -> None:
    """Cancelled in the same turn: the instance does not even see it."""
    line.ask(b"body")
    line.connection.abandon()
    line.reactor.advance(0)
    assert line.arrived() == b""
    assert line.events == ["gone"]


def test_an_answer_to_nothing_is_not_the_answer(line: Line) -> None:
    """A server that says 408 while the next request waits to leave: stale, and the request was never sent."""
    line.ask()
    line.reactor.advance(0)
    line.far.send(OK)
    line.read()
    line.arrived()
    line.events.clear()
    line.ask(b"second")
    line.far.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    line.read()
    line.reactor.advance(0)
    assert line.arrived() == b""
    assert line.events == ["gone", Condition.UNSENT]
