"""The HTTP/1.1 server side, small: one protocol on httptools for instances, control plane and admin API alike.

Requests of a connection are answered in order, one at a time; what is pipelined waits. A handler answers with a
`Response`, a Deferred of one, or `HANG` for no answer at all. Knows no route and no fault.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IAddress, ITCPTransport
    from twisted.python.failure import Failure

_log = Logger(namespace="simulator.http1")

MAX_HEAD_BYTES = 64 * 2**10
MAX_BODY_BYTES = 256 * 2**20
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Silence(Enum):
    """Instead of an answer."""

    HANG = "hang"
    """The connection stays open and silent."""


HANG = Silence.HANG


@frozen
class Request:
    """A whole request.

    Attributes:
        method: Such as `POST`.
        target: Path and query, as sent.
        headers: Names in lower case; of a repeated one the last.
        body: The bytes.
        connection: Where it came in.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: ServerConnection

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target's query, without its question mark."""
        return self.target.partition("?")[2]


@frozen
class Response:
    """A whole response.

    Attributes:
        status: 100-599.
        body: The bytes.
        content_type: Of the body; empty for none.
        headers: More header fields.
        close: Whether to close the connection after it.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(factory=dict)
    close: bool = False


Answer = Response | Silence
if TYPE_CHECKING:
    Handler = Callable[[Request], Answer | Deferred[Answer]]


class ServerConnection(Protocol):
    """One connection of a client."""

    transport: ITCPTransport

    def __init__(self, server: Server) -> None:
        self.server = server
        self._parser = HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._answering: Deferred[Answer] | None = None
        self._is_busy = False
        self._is_open = False
        self._is_too_large = False
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
        self.transport.abortConnection()

    def close(self) -> None:
        """Close in order."""
        self.transport.loseConnection()

    # -- what the transport calls

    def connectionMade(self) -> None:
        """A client connected (`IProtocol`)."""
        self._is_open = True
        self.transport.setTcpNoDelay(True)
        self.server.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came (`IProtocol`)."""
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"the request is not HTTP/1.1: {error}")
        else:
            if self._is_too_large:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """The client is gone (`IProtocol`)."""
        self._is_open = False
        self._waiting.clear()
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.cancel()
        self.server.closed(self)

    # -- what the parser calls

    def on_message_begin(self) -> None:
        """A request begins (httptools)."""
        self._begin()
        self._began = True

    def on_url(self, url: bytes) -> None:
        """A piece of the target came (httptools)."""
        self._target += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field came (httptools)."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._is_too_large = True
        else:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is complete (httptools)."""
        if "100-continue" in self._headers.get("expect", "").lower():
            self.transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A piece of the body came (httptools)."""
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._is_too_large = True
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is complete (httptools)."""
        request = Request(
            self._parser.get_method().decode("ascii"),
            self._target.decode("latin-1"),
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            self,
        )
        self._began = False
        self._waiting.append((request, self._parser.should_keep_alive()))
        if not self._is_busy:
            self._serve_next()

    # -- how it answers

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = 0
        self._began = False

    def _serve_next(self) -> None:
        while self._waiting and not self._is_busy:
            request, keep = self._waiting.popleft()
            self._is_busy = True
            self.requests += 1
            answer = self.server.handle(request)
            if isinstance(answer, Deferred):
                self._answering = answer
                answer.addCallbacks(self._answer, self._failed, callbackArgs=(keep,))
            else:
                self._answer(answer, keep)

    def _answer(self, answer: Answer, keep: bool) -> None:  # noqa: FBT001
        self._answering = None
        if not self._is_open or isinstance(answer, Silence):
            return
        self._is_busy = False
        keep = keep and not answer.close
        self.transport.write(render(answer, keep=keep))
        if keep:
            self._serve_next()
        else:
            self.transport.loseConnection()

    def _failed(self, failure: Failure) -> None:
        if self._is_open:
            _log.failure("a handler failed by a bug", failure)
            self._answer(
                Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"the simulator has a bug; see its log"), keep=False
            )

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.transport.write(render(Response(status, why.encode(), "text/plain"), keep=False))
        self.transport.loseConnection()


class Server(Factory):
    """Accepts connections and knows those that are open.

    Args:
        handler: Answers requests.
    """

    noisy = False

    def __init__(self, handler: Handler) -> None:
        self.handle = handler
        self.connections: dict[ServerConnection, None] = {}
        self._emptied: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection:  # noqa: ARG002
        """A connection for a client (`IProtocolFactory`)."""
        return ServerConnection(self)

    def opened(self, connection: ServerConnection) -> None:
        """A client connected."""
        self.connections[connection] = None

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

    def when_empty(self) -> Deferred[None]:
        """Fires when no connection is open."""
        waiter: Deferred[None] = Deferred()
        if self.connections:
            self._emptied.append(waiter)
        else:
            waiter.callback(None)
        return waiter


def render(response: Response, *, keep: bool) -> bytes:
    """A response as bytes."""
    head = f"HTTP/1.1 {response.status} {_phrase(response.status)}\r\nContent-Length: {len(response.body)}\r\n"
    if response.content_type:
        head += f"Content-Type: {response.content_type}\r\n"
    for name, value in response.headers.items():
        head += f"{name}: {value}\r\n"
    if not keep:
        head += "Connection: close\r\n"
    return f"{head}\r\n".encode("latin-1") + response.body


_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {450: "Queue Full", 499: "Client Closed Request"}


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Unknown")
