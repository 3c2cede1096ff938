"""The HTTP/1.1 server side, small: one protocol on httptools for instances, control plane and admin API alike.

Requests of a connection are answered in order, one at a time; what is pipelined waits, a refusal of what is not
HTTP/1.1 included. A handler answers with a `Response`, a `Wire` for bytes that go out in their own manner, a Deferred
of one, or `HANG` for no answer at all. Knows no route and no fault.
"""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection as SocketTransport
from twisted.logger import Logger

from simulator.delivery import Ending, IdleEnd, Pacer, Wire
from simulator.messages import HANG, Answer, Request, Response, Silence, render
from simulator.request_head import MAX_BODY_BYTES, RefusedRequest, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

__all__ = ["HANG", "Answer", "Request", "Response", "Server", "ServerConnection", "Silence", "render"]

_log = Logger(namespace="simulator.http1")

MAX_HEAD_BYTES = 64 * 2**10
MAX_WAITING = 64
MAX_WAITING_BYTES = 16 * 2**20
"""Pipelined requests that may wait for their turn, and their bodies; beyond that the connection is read no further."""
_USUAL = (
    "Host",
    "Content-Length",
    "Content-Type",
    "Content-MD5",
    "Date",
    "Authorization",
    "Connection",
    "Accept-Encoding",
)
_NAMES = {name.encode(): name.lower() for name in _USUAL}
"""Names as clients usually spell them: looking one up costs a third of decoding it."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_JOINED = frozenset({"connection", "transfer-encoding"})
"""Lists that frame messages: one that is repeated is one list (RFC 9110 §5.3), not the last of its lines."""


if TYPE_CHECKING:
    Handler = Callable[[Request], Answer | Deferred[Answer]]


class ServerConnection(Protocol):
    """One connection of a client."""

    transport: Any
    _body: bytes | bytearray
    _body_bytes: int

    def __init__(self, server: Server) -> None:
        self.server = server
        self._parser = HttpRequestParser(self)
        self._waiting: deque[Request | Response] = deque()
        self._waiting_bytes = 0
        self._problem: Response | None = None
        self._answering: Deferred[Answer] | None = None
        self._idle_end: IdleEnd | None = None
        self._idle_timer: Any = None
        self._doom: Any = None
        self._write_to_socket: Callable[[bytes], int] | None = None
        self._is_busy = False
        self._is_open = False
        self._is_deaf = False
        self._is_paused = False
        self._owes_continue = False
        self._begin()
        self.requests = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered or waiting."""
        return not (self._is_busy or self._waiting or self._began)

    @property
    def peer(self) -> str:
        """The other end, as `host:port`."""
        peer: Any = self.transport.getPeer()
        return f"{peer.host}:{peer.port}"

    def reset(self) -> None:
        """Cut the connection with an RST."""
        self._is_open = False
        self.transport.abortConnection()

    def close(self) -> None:
        """Close in order; what still comes in is not read."""
        self._is_open = False
        self.transport.loseConnection()

    def reset_after(self, seconds: float) -> None:
        """Cut the connection with an RST after a while, whatever happens on it until then."""
        if seconds <= 0:
            self.reset()
        elif self._doom is None:
            self._doom = self.server.clock.callLater(seconds, self._meet_doom)

    # -- what the transport calls

    def connectionMade(self) -> None:
        """A client connected (`IProtocol`)."""
        self._is_open = True
        self.transport.setTcpNoDelay(True)
        if isinstance(self.transport, SocketTransport):
            self._write_to_socket = self.transport.getHandle().send
        self.server.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came (`IProtocol`)."""
        if not self._is_open or self._is_deaf or (self._idle_end is not None and self._is_ended_by_a_request()):
            return
        # A header line, a trailer or a chunk extension without an end fires no callback: count what is fed since the
        # last callback that bounds it.
        if self._fed_bytes > MAX_HEAD_BYTES:
            self._note_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")
        self._fed_bytes += len(data)
        rest: bytes | None = data
        while rest:
            rest = self._feed(rest)

    def _feed(self, data: bytes) -> bytes | None:
        """Parse; what is left over after the head of a request that offers another protocol."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as offer:
            if self._problem is None and not self._is_deaf:
                return self._head_without_upgrade() + data[offer.args[0] :]
        except HttpParserError as error:
            self._note_problem(HTTPStatus.BAD_REQUEST, f"the request is not HTTP/1.1: {error}")
        if self._problem is not None and not self._is_deaf:
            self._is_deaf = True
            self._waiting.append(self._problem)
            if not self._is_busy:
                self._serve_next()
        return None

    def _head_without_upgrade(self) -> bytes:
        """The same head again, on a parser that reads the body.

        A server may ignore an offered upgrade (RFC 9110 §7.8), but llhttp takes everything after such a head for the
        other protocol.
        """
        self._parser = HttpRequestParser(self)
        kept = [token for token in self._headers.get("connection", "").split(",") if token.strip().lower() != "upgrade"]
        headers = {**self._headers, "connection": ",".join(kept)}
        del headers["upgrade"]
        lines = [f"{self._method} {self._url.decode('latin-1')} HTTP/{self._version}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """The client is gone (`IProtocol`)."""
        self._is_open = False
        self._waiting.clear()
        self._forget_idle_end()
        if self._doom is not None:
            self._doom.cancel()
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.cancel()
        self.server.closed(self)
        # It holds this connection's methods: without the circle both are gone at once, and need no collector.
        del self._parser

    # -- what the parser calls

    def on_message_begin(self) -> None:
        """A request begins (httptools)."""
        self._begin()
        self._began = True

    def on_url(self, url: bytes) -> None:
        """A piece of the target came (httptools)."""
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field came, or a trailer (httptools)."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._note_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request's head is too large")
        elif not self._is_past_head:  # a trailer is no header field: it must not replace one (RFC 9110 §6.5.1)
            key = _NAMES.get(name) or name.decode("latin-1").lower()
            text = value.decode("latin-1")
            if key in self._headers:
                if key == "host":
                    self._note_problem(HTTPStatus.BAD_REQUEST, "there are two Host headers")
                elif key in _JOINED:
                    text = f"{self._headers[key]}, {text}"
            self._headers[key] = text

    def on_headers_complete(self) -> None:
        """The head is complete (httptools)."""
        self._is_past_head = True
        self._method = self._parser.get_method().decode("ascii")
        self._version = self._parser.get_http_version()
        self._is_upgrade = self._parser.should_upgrade()
        try:
            self._target = check(self._method, self._url.decode("latin-1"), self._version, self._headers)
        except RefusedRequest as refused:
            self._note_problem(refused.status, str(refused))
        if self._problem is not None or self._is_upgrade:
            return
        if "expect" in self._headers and "100-continue" in self._headers["expect"].lower() and self._version != "1.0":
            # An interim response belongs to the request that is answered next.
            if self._is_busy or self._waiting:
                self._owes_continue = True
            else:
                self._write(_CONTINUE)
        if self.server.on_head is not None:
            self.server.on_head(self, self._method, self._target)

    def on_body(self, body: bytes) -> None:
        """A piece of the body came (httptools)."""
        self._owes_continue = False
        self._fed_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._note_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
        elif not self._body:
            self._body = body
        else:
            # One buffer that grows: a list would hold an object for each chunk, and a chunk may be one byte.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        """The request is complete (httptools)."""
        if self._problem is not None or self._is_upgrade:
            return
        # Chunked framing in HTTP/1.0 is not to be trusted for a second request (RFC 9112 §6.1).
        is_odd = self._version == "1.0" and "transfer-encoding" in self._headers
        request = Request(
            self._method,
            self._target,
            self._headers,
            bytes(self._body),
            self,
            self._parser.should_keep_alive() and not is_odd,
            self._version,
        )
        self._began = self._owes_continue = False
        self._body = b""
        self._fed_bytes = 0
        self._is_deaf = not request.keep
        self._waiting.append(request)
        self._waiting_bytes += len(request.body)
        if not self._is_busy:
            self._serve_next()
        elif self._is_full and not self._is_paused:
            self._is_paused = True
            self.transport.pauseProducing()

    # -- how it answers

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES

    def _begin(self) -> None:
        self._url = b""
        self._method = self._target = self._version = ""
        self._headers: dict[str, str] = {}
        self._body = b""
        self._head_bytes = self._body_bytes = self._fed_bytes = 0
        self._is_past_head = False
        self._is_upgrade = False
        self._began = False

    def _note_problem(self, status: HTTPStatus, why: str) -> None:
        """The request cannot be answered, and what follows it cannot be read; the first reason stands."""
        if self._problem is None:
            self._problem = Response(status, f"{why}\n".encode(), "text/plain; charset=utf-8", close=True)

    def _serve_next(self) -> None:
        while self._waiting and not self._is_busy and self._is_open:
            request = self._waiting.popleft()
            if isinstance(request, Response):
                self._write(render(request, keep=False))
                self.close()
                return
            self._waiting_bytes -= len(request.body)
            if self._is_paused and not self._is_full:
                self._is_paused = False
                self.transport.resumeProducing()
            self._is_busy = True
            self.requests += 1
            answer = self.server.handle(request)
            if isinstance(answer, Deferred):
                self._answering = answer
                answer.addCallbacks(self._answer, self._failed, callbackArgs=(request,), errbackArgs=(request,))
            else:
                self._answer(answer, request)
        if self._owes_continue and self._is_open and not self._is_busy:
            self._owes_continue = False
            self._write(_CONTINUE)

    def _answer(self, answer: Answer, request: Request) -> None:
        self._answering = None
        if not self._is_open or isinstance(answer, Silence):
            return
        if isinstance(answer, Wire):
            Pacer(self.server.clock, self.transport, answer, lambda: self._end(answer)).start()
            return
        self._is_busy = False
        keep = request.keep and not answer.close
        self._write(render(answer, keep=keep, request=request))
        if not keep:
            self.close()
        elif self._waiting or self._owes_continue:
            self._serve_next()

    def _write(self, data: bytes) -> None:
        """Send at once, without asking whether the socket is writable; the rest and every error are the transport's."""
        write_to_socket = self._write_to_socket
        if write_to_socket is not None:
            try:
                written = write_to_socket(data)
            except OSError:
                written = 0
            if written == len(data):
                return
            # From now on the transport may have something to write, which nothing may overtake.
            self._write_to_socket = None
            data = data[written:]
        self.transport.write(data)

    def _end(self, wire: Wire) -> None:
        """A wire has gone out."""
        if wire.ending is Ending.RESET:
            self.reset()
        elif wire.ending is Ending.CLOSE:
            self.close()
        elif wire.ending is Ending.KEEP:
            self._is_busy = False
            self._idle_end = wire.idle_end
            if wire.idle_end is not None and not wire.idle_end.at_next_request:
                self._idle_timer = self.server.clock.callLater(wire.idle_end.after_s, self._end_idle)
            self._serve_next()

    def _is_ended_by_a_request(self) -> bool:
        """Whether the connection closes now that bytes of a request come; else the request came in time."""
        ends = self._idle_end is not None and self._idle_end.at_next_request
        if ends:
            self._end_idle()
        self._forget_idle_end()
        return ends

    def _end_idle(self) -> None:
        idle_end, self._idle_timer = self._idle_end, None
        if idle_end is not None and idle_end.reset:
            self.reset()
        else:
            self.close()

    def _meet_doom(self) -> None:
        self._doom = None
        self.reset()

    def _forget_idle_end(self) -> None:
        self._idle_end = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _failed(self, failure: Failure, request: Request) -> None:
        if self._is_open:
            _log.failure("a handler failed by a bug", failure)
            why = b"the simulator has a bug; see its log"
            self._answer(Response(HTTPStatus.INTERNAL_SERVER_ERROR, why, close=True), request)


class Server(Factory):
    """Accepts connections and knows those that are open.

    Args:
        handler: Answers requests.
        clock: For answers that take their time.

    Attributes:
        on_open: Called with each new connection, when it is not `None`.
        on_head: Called with a connection, a method and a target when the head of a request is there, likewise.
    """

    noisy = False

    def __init__(self, handler: Handler, clock: Any) -> None:
        self.handle = handler
        self.clock = clock
        self.on_open: Callable[[ServerConnection], None] | None = None
        self.on_head: Callable[[ServerConnection, str, str], None] | None = None
        self.connections: dict[ServerConnection, None] = {}
        self._emptied: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection:  # noqa: ARG002
        """A connection for a client (`IProtocolFactory`)."""
        return ServerConnection(self)

    def opened(self, connection: ServerConnection) -> None:
        """A client connected."""
        self.connections[connection] = None
        if self.on_open is not None:
            self.on_open(connection)

    def closed(self, connection: ServerConnection) -> None:
        """A client is gone."""
        self.connections.pop(connection, None)
        if not self.connections:
            emptied, self._emptied = self._emptied, []
            for waiter in emptied:
                waiter.callback(None)

    def reset_connections(self) -> None:
        """Cut every connection with an RST."""
        for connection in list(self.connections):
            connection.reset()

    def close_idle(self) -> None:
        """Close the connections on which nothing is going on."""
        for connection in list(self.connections):
            if connection.is_idle:
                connection.close()

    def when_empty(self) -> Deferred[None]:
        """Fires when no connection is open."""
        waiter: Deferred[None] = Deferred()
        if self.connections:
            self._emptied.append(waiter)
        else:
            waiter.callback(None)
        return waiter
