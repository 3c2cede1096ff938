"""Servers on real sockets in the test's reactor, each with one kind of misbehaviour (a `Species`).

The script of a species is a generator. It yields bytes to write, or seconds to wait, and the connection is closed when
the script ends, unless its last step is `OPEN`. The script starts when a connection is accepted (`on_accept`), or when
a complete request has been received.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from eas_tw import ConnectionFailed, DeadlineExceeded, ProtocolViolation, StatusError

HEAD = b"HTTP/1.1 200 OK\r\n"
GOOD = HEAD + b"Content-Length: 4\r\n\r\ngood"
SILENCE, RESET, OPEN = "silence", "reset", "open"


class Species(NamedTuple):
    """One kind of misbehaviour of a server.

    Attributes:
        script: Makes the steps: bytes to write, seconds to wait, `SILENCE`, `RESET`, or `OPEN` (do not close).
        error: Type of the error of a call to this server alone; `None` if the call gets a response.
        on_accept: Whether the script starts when a connection is accepted, and not when a request is complete.
        reads: Whether the server reads the bytes that it receives.
    """

    script: Callable[[], Iterator[Any]]
    error: type[Exception] | None
    on_accept: bool = False
    reads: bool = True


class Beast(Protocol):
    """Server side of one connection."""

    factory: Enclosure

    def connectionMade(self) -> None:
        self.factory.open.append(self)
        self._came = b""
        self._steps: Iterator[Any] | None = None
        self._timer: Any = None
        species = self.factory.species
        if species is not None and not species.reads:
            self.transport.pauseProducing()
        if species is not None and species.on_accept:
            self._begin(species)

    def dataReceived(self, data: bytes) -> None:
        self._came += data
        head, blank, body = self._came.partition(b"\r\n\r\n")
        if not blank or len(body) < int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]):
            return
        self._came = b""
        species = self.factory.species
        if species is None:
            self.transport.write(GOOD)
        elif self._steps is None:
            self._begin(species)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.open.remove(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.factory.check_empty()

    def _begin(self, species: Species) -> None:
        self.factory.met += 1
        self._steps = species.script()
        self._step()

    def _step(self) -> None:
        assert self._steps is not None
        for step in self._steps:
            if isinstance(step, bytes):
                self.transport.write(step)
            elif isinstance(step, float):
                self._timer = reactor.callLater(step, self._step)
                return
            elif step == RESET:
                linger = struct.pack("ii", 1, 0)
                self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.transport.abortConnection()
                return
            else:
                return
        self.transport.loseConnection()


class Enclosure(Factory):
    """A listening server.

    Attributes:
        species: How the server misbehaves; `None` for a server that responds correctly to each request.
        met: How often a script has started.
    """

    protocol = Beast
    noisy = False

    def __init__(self, species: Species | None) -> None:
        self.species = species
        self.met = 0
        self.open: list[Beast] = []
        self._empty: Deferred[None] | None = None
        self._port = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.address = ("127.0.0.1", self._port.getHost().port)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening, and close the connections that the client has not closed."""
        await self._port.stopListening()
        for beast in list(self.open):
            beast.transport.abortConnection()
        if self.open:
            self._empty = Deferred()
            await self._empty

    def check_empty(self) -> None:
        if self._empty is not None and not self.open:
            empty, self._empty = self._empty, None
            empty.callback(None)


def says(*steps: Any) -> Callable[[], Iterator[Any]]:
    """Return a script with fixed steps."""
    return lambda: iter(steps)


def endless(first: bytes, again: bytes, pause_s: float = 0.0) -> Callable[[], Iterator[Any]]:
    """Return a script that sends until the client disconnects, in chunks that do not block the reactor for long."""

    def script() -> Iterator[Any]:
        yield first
        while True:
            yield again * (1 if pause_s else max(1, 8192 // len(again)))
            yield pause_s or 0.001

    return script


LATE, BAD, CUT = DeadlineExceeded, ProtocolViolation, ConnectionFailed
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

SPECIES: dict[str, Species] = {
    # no response
    "closes at once": Species(says(), CUT, on_accept=True),
    "resets at once": Species(says(RESET), CUT, on_accept=True),
    "never says a word": Species(says(SILENCE), LATE, on_accept=True),
    "never reads": Species(says(SILENCE), LATE, on_accept=True, reads=False),
    "takes the request and closes": Species(says(), CUT),
    "takes the request and resets": Species(says(RESET), CUT),
    "takes the request and falls silent": Species(says(SILENCE), LATE),
    # other protocols
    "greets like ssh": Species(says(0.05, b"SSH-2.0-OpenSSH_9.2\r\n", OPEN), BAD, on_accept=True),
    "answers like ssh": Species(says(b"SSH-2.0-OpenSSH_9.2\r\n", OPEN), BAD),
    "answers with a tls alert": Species(says(b"\x15\x03\x01\x00\x02\x02\x28", OPEN), BAD),
    "answers with zeros": Species(says(bytes(1000), OPEN), BAD),
    "speaks rtsp": Species(says(b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", OPEN), BAD),
    "speaks http/2.0": Species(says(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", OPEN), BAD),
    "speaks http/0.9": Species(says(b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", OPEN), BAD),
    "begins with blank lines": Species(says(b"\r\n\r\n" + GOOD, OPEN), BAD),
    # response heads
    "half a status line, closed": Species(says(b"HTTP/1.1 2"), CUT),
    "half a head, silent": Species(says(HEAD + b"Content-Le", SILENCE), LATE),
    "slow loris": Species(endless(HEAD, b"X", 0.02), LATE),
    "endless header lines": Species(endless(HEAD, b"X-Y: z\r\n"), BAD),
    "an endless header line": Species(endless(HEAD + b"X: ", b"y" * 1000), BAD),
    "a head that is too large": Species(says(HEAD + b"X: " + b"y" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n"), BAD),
    "status 999": Species(says(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", OPEN), BAD),
    "status 000": Species(says(b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", OPEN), BAD),
    "a folded header": Species(says(HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", OPEN), BAD),
    "bare line feeds": Species(says(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", OPEN), BAD),
    "nul in a header": Species(says(HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n", OPEN), BAD),
    "a space before the colon": Species(says(HEAD + b"Content-Length : 0\r\n\r\n", OPEN), BAD),
    # interim responses
    "endless 1xx": Species(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), BAD),
    "switches protocols": Species(says(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", OPEN), BAD),
    "rtsp after an interim response": Species(
        says(b"HTTP/1.1 103 X\r\n\r\nRTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", OPEN), BAD
    ),
    # Content-Length
    "two lengths": Species(says(HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\ngood", OPEN), BAD),
    "a negative length": Species(says(HEAD + b"Content-Length: -4\r\n\r\ngood", OPEN), BAD),
    "a length without end": Species(says(HEAD + b"Content-Length: 99999999999999\r\n\r\n", SILENCE), BAD),
    "less than promised, closed": Species(says(HEAD + b"Content-Length: 9\r\n\r\ngood"), CUT),
    "less than promised, silent": Species(says(HEAD + b"Content-Length: 9\r\n\r\ngood", SILENCE), LATE),
    "less than promised, reset": Species(says(HEAD + b"Content-Length: 9\r\n\r\ngood", 0.02, RESET), CUT),
    "length and chunked": Species(says(HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", OPEN), BAD),
    # chunked bodies
    "a chunk size that is none": Species(says(CHUNKED + b"zz\r\ngood\r\n", OPEN), BAD),
    "chunks without end": Species(endless(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"), BAD),
    "a chunk extension without end": Species(endless(CHUNKED + b"4;", b"x" * 1000), BAD),
    "trailers without end": Species(endless(CHUNKED + b"0\r\n", b"X: y\r\n"), BAD),
    "chunks that stop": Species(says(CHUNKED + b"4\r\ngood\r\n", SILENCE), LATE),
    "gzip inside chunks": Species(says(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", OPEN), BAD),
    "an unknown coding": Species(says(HEAD + b"Transfer-Encoding: identity\r\n\r\ngood"), BAD),
    # bodies without a length
    "no length, reset": Species(says(HEAD + b"\r\ngood", 0.02, RESET), CUT),
    "no length, without end": Species(endless(HEAD + b"\r\n", b"x" * 1024), BAD),
    # unusual, but correct responses
    "no length, closed": Species(says(HEAD + b"\r\ngood"), None),
    "byte by byte": Species(lambda: (part for byte in GOOD for part in (bytes([byte]), 0.0005)), None),
    "interim responses first": Species(says(b"HTTP/1.1 103 X\r\nLink: y\r\n\r\n" * 3 + GOOD, OPEN), None),
    "says close and does not": Species(
        says(HEAD + b"Connection: close\r\nContent-Length: 4\r\n\r\ngood", OPEN), None
    ),
    "garbage after close": Species(
        says(HEAD + b"Connection: close\r\nContent-Length: 4\r\n\r\ngood" + b"garbage" * 100), None
    ),
    "a smuggled second response": Species(says(GOOD + HEAD + b"Content-Length: 4\r\n\r\nevil", OPEN), None),
    "a second response a moment later": Species(
        says(GOOD, 0.02, HEAD + b"Content-Length: 4\r\n\r\nevil", OPEN), None
    ),
    "more than promised": Species(says(HEAD + b"Content-Length: 4\r\n\r\ngood and more", OPEN), None),
    "answers and resets": Species(says(GOOD, 0.02, RESET), None),
    "answers and closes": Species(says(GOOD), None),
    "says it is idle too long": Species(
        says(GOOD, 0.01, b"HTTP/1.1 408 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), None
    ),
    # responses with a status other than 200
    "redirects": Species(says(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", OPEN), StatusError),
    "304 with a body": Species(says(b"HTTP/1.1 304 X\r\n\r\nbody", OPEN), StatusError),
    "304 with a length": Species(says(b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", OPEN), StatusError),
}  # fmt: skip
