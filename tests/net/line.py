"""A connection on a real socket, whose reactor the test runs step by step."""

from __future__ import annotations

import socket

from twisted.internet.tcp import Connection

from eas_tw.net.flush import Flusher
from eas_tw.net.http1 import ClientConnection
from tests.net.hand import HandReactor
from tests.net.wire import Witness

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LARGE = 60_000


class Line(Witness):
    """A connection over a socket pair. The test owns the client's end, and reads and writes at the far end."""

    def __init__(self, max_body_bytes: int = 1000) -> None:
        super().__init__()
        self.reactor = HandReactor()
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.near = socket.create_connection(server.getsockname())
            self.far, _ = server.accept()
        self.near.setblocking(False)
        self.connection = ClientConnection(
            self, Flusher(self.reactor), max_head_bytes=1000, max_body_bytes=max_body_bytes
        )
        self.transport = Connection(self.near, self.connection, self.reactor)
        self.transport.connected = 1
        self.transport.logstr = "line"
        self.transport.startReading()
        self.connection.makeConnection(self.transport)
        assert self.events.pop() == "made"

    def ask(self, body: bytes = b"") -> None:
        self.connection.send(b"HEAD", body, self)

    def arrived(self) -> bytes:
        """Return the bytes that have arrived at the far end."""
        try:
            return self.far.recv(10 * LARGE, socket.MSG_DONTWAIT)
        except OSError:
            return b""

    def drain(self) -> bytes:
        """Let the transport write all its bytes, and return those that arrive at the far end."""
        came = b""
        while self.reactor.writers:
            came += self.arrived()
            assert self.transport.doWrite() is None
        return came + self.arrived()

    def served(self) -> None:
        """Complete one exchange, after which the connection is idle."""
        self.ask()
        self.reactor.advance(0)
        self.far.send(OK)
        self.read()
        assert self.arrived() == b"HEAD"
        assert self.events == ["free", (200, b"hi")]
        self.events.clear()

    def read(self) -> None:
        """Call `doRead`, as the reactor does when the socket is readable."""
        assert self.transport.doRead() is None

    def close(self) -> None:
        self.far.close()
        self.near.close()
