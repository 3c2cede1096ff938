"""Reads complete requests from the bytes of a connection: parses them, validates them, and enforces limits.

The connection is responsible for the order of requests, and for the responses.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from simulator.messages import ReceivedRequest, Response
from simulator.request_head import MAX_BODY_BYTES, RefusedRequest, check

if TYPE_CHECKING:
    from simulator.http1 import ServerConnection

MAX_HEAD_BYTES = 64 * 2**10
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
"""Header names as most clients spell them. A lookup takes a third of the time of decoding the name."""
_JOINED = frozenset({"connection", "transfer-encoding"})
"""List fields that affect framing. Repeated lines form one list (RFC 9110 §5.3), so no value may be dropped."""


class RequestReader:
    """Reads the requests of one connection, and calls the connection's `head_came` and `request_came`.

    Attributes:
        has_begun: Whether a request has been received in part.
        wants_continue: Whether the client waits for `100 Continue` before it sends the body.
    """

    _body: bytes | bytearray
    _body_bytes: int

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._parser = HttpRequestParser(self)
        self._problem: Response | None = None
        self._offers_websocket = False
        self._begin()

    def feed(self, data: bytes) -> Response | None:
        """Parse received bytes.

        Returns:
            1. `None` when the bytes are valid so far.
            2. An error response if they are not. Later bytes of the connection cannot be parsed.
        """
        # The parser calls no callback for a header line, trailer or chunk extension without an end. The bytes since the
        # last callback are therefore counted here.
        if self._fed_bytes > MAX_HEAD_BYTES:
            self._note_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")
        self._fed_bytes += len(data)
        while data and self._problem is None:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as offer:
                data = self._head_without_upgrade() + data[offer.args[0] :]
                continue
            except HttpParserError as error:
                self._note_problem(HTTPStatus.BAD_REQUEST, f"the request is not HTTP/1.1: {error}")
            break
        return self._problem

    def close(self) -> None:
        """Drop the parser: it refers to this object, and only the garbage collector would free that cycle."""
        del self._parser

    def _head_without_upgrade(self) -> bytes:
        """Serialise the head again without its upgrade, for a parser that reads the body.

        A server may ignore an offered upgrade (RFC 9110 §7.8), but llhttp treats all bytes after such a head as
        bytes of the other protocol. Only the offer of a WebSocket is passed to the handler.
        """
        self._offers_websocket = self._headers.get("upgrade", "").strip().lower() == "websocket"
        self._parser = HttpRequestParser(self)
        kept = [token for token in self._headers.get("connection", "").split(",") if token.strip().lower() != "upgrade"]
        headers = {**self._headers, "connection": ",".join(kept)}
        headers.pop("upgrade", None)
        lines = [f"{self._method} {self._url.decode('latin-1')} HTTP/{self._version}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    # -- called by the parser

    def on_message_begin(self) -> None:
        """Begin a request (httptools)."""
        self._begin()
        self.has_begun = True

    def on_url(self, url: bytes) -> None:
        """Collect a piece of the target (httptools)."""
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header field or a trailer field (httptools)."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._note_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request's head is too large")
        elif not self._is_past_head:  # a trailer field must not replace a header field (RFC 9110 §6.5.1)
            key = _NAMES.get(name) or name.decode("latin-1").lower()
            text = value.decode("latin-1")
            if key in self._headers:
                if key == "host":
                    self._note_problem(HTTPStatus.BAD_REQUEST, "there are two Host headers")
                elif key in _JOINED:
                    text = f"{self._headers[key]}, {text}"
            self._headers[key] = text

    def on_headers_complete(self) -> None:
        """Validate the complete head (httptools)."""
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
        expected = self._headers.get("expect", "").lower()
        self.wants_continue = "100-continue" in expected and self._version != "1.0"
        self._connection.head_came(self._method, self._target)

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body (httptools)."""
        self.wants_continue = False
        self._fed_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._note_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
        elif not self._body:
            self._body = body
        else:
            # One growing buffer instead of a list, because each chunk may be a single byte.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        """Pass the complete request to the connection (httptools)."""
        if self._problem is not None or self._is_upgrade:
            return
        if self._offers_websocket:
            self._offers_websocket = False
            if self._method == "GET" and not self._body:  # the opening handshake of RFC 6455 §4.1
                self._headers["upgrade"] = "websocket"
        # RFC 9112 §6.1: the connection must be closed after chunked framing in HTTP/1.0 (request smuggling).
        is_odd = self._version == "1.0" and "transfer-encoding" in self._headers
        request = ReceivedRequest(
            self._method,
            self._target,
            self._headers,
            bytes(self._body),
            self._connection,
            self._parser.should_keep_alive() and not is_odd,
            self._version,
        )
        self.has_begun = self.wants_continue = False
        self._body = b""
        self._fed_bytes = 0
        self._connection.request_came(request)

    def _begin(self) -> None:
        self._url = b""
        self._method = self._target = self._version = ""
        self._headers: dict[str, str] = {}
        self._body: bytes | bytearray = b""
        self._head_bytes = self._body_bytes = self._fed_bytes = 0
        self._is_past_head = False
        self._is_upgrade = False
        self.has_begun = self.wants_continue = False

    def _note_problem(self, status: HTTPStatus, why: str) -> None:
        """Record why the connection cannot be parsed further; only the first reason is recorded."""
        if self._problem is None:
            self._problem = Response(status, f"{why}\n".encode(), "text/plain; charset=utf-8", close=True)
