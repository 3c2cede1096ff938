"""The messages on a connection: requests, responses, the absence of a response, and the serialisation of responses."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from simulator.delivery import Wire
from simulator.streaming import StreamResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.http1 import ServerConnection


class Silence(Enum):
    """A value that a handler returns instead of a response."""

    HANG = "hang"
    """Keep the connection open, and send nothing."""


HANG = Silence.HANG


class ReceivedRequest(NamedTuple):
    """A complete request.

    Attributes:
        method: HTTP method, such as `POST`.
        target: Path and query as sent, or `*`; scheme and host of a target in absolute form are removed.
        headers: Header fields with names in lower case. A repeated field has its last value, except that the values of
            `connection` and `transfer-encoding` are joined with commas.
        body: Body of the request.
        connection: Connection on which the request was received.
        keep: Whether the client permits a persistent connection (RFC 9112 §9.3).
        version: `1.1` or `1.0`.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: ServerConnection
    keep: bool = True
    version: str = "1.1"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target's query, without its question mark."""
        return self.target.partition("?")[2]


_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Response(NamedTuple):
    """A complete response.

    Attributes:
        status: HTTP status, 100 to 599.
        body: Body of the response.
        content_type: Content-Type of the body; empty for none.
        headers: Additional header fields.
        close: Whether to close the connection after the response.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = _NO_HEADERS
    close: bool = False


def text_response(status: int, text: str) -> Response:
    """Build a response whose body is `text` in UTF-8; characters that UTF-8 cannot encode become `?`."""
    return Response(status, text.encode("utf-8", "replace"), "text/plain; charset=utf-8")


Answer = Response | StreamResponse | Wire | Silence


def render(response: Response, *, keep: bool, request: ReceivedRequest | None = None) -> bytes:
    """Serialise a response.

    Args:
        response: The response.
        keep: Whether the connection stays open after the response.
        request: The answered request; `None` for a GET of HTTP/1.1. A response to HEAD has a Content-Length, but no
            body (RFC 9110 §9.3.2). With HTTP/1.0 a connection that stays open needs `Connection: keep-alive` (RFC 9112
            §9.3).
    """
    is_bodyless = response.status in BODYLESS
    fields = "" if is_bodyless else f"Content-Length: {len(response.body)}\r\n"
    content_type = "" if is_bodyless else response.content_type
    head = _head(response.status, fields, content_type, response.headers, keep=keep, request=request)
    has_body = not is_bodyless and (request is None or request.method != "HEAD")
    return head + (response.body if has_body else b"")


class Framing(Enum):
    """The framing of a streamed body, by which the client detects the end of the body (RFC 9112 §6.3)."""

    NONE = "none"
    """There is no body."""
    CHUNKED = "chunked"
    """The body ends with the last chunk, of size 0."""
    LENGTH = "length"
    """The body ends after `Content-Length` bytes."""
    CLOSE = "close"
    """The body ends when the server closes the connection."""


def framing_of(stream: StreamResponse, request: ReceivedRequest) -> Framing:
    """Choose the framing of a streamed response."""
    if stream.receive is not None:
        return Framing.CLOSE
    if stream.status in BODYLESS or request.method == "HEAD":
        return Framing.NONE
    if stream.length is not None:
        return Framing.LENGTH
    # HTTP/1.0 has no chunked transfer coding (RFC 9112 §6.1).
    return Framing.CLOSE if request.version == "1.0" else Framing.CHUNKED


def render_head(stream: StreamResponse, *, keep: bool, request: ReceivedRequest) -> bytes:
    """Serialise the head of a streamed response; a response to HEAD has the same fields as a response to GET.

    Args:
        stream: The response.
        keep: Whether the connection stays open after the response.
        request: The answered request.
    """
    if stream.receive is not None:
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        return _head(stream.status, upgrade, "", stream.headers, keep=True, request=None)
    if stream.status in BODYLESS:
        return _head(stream.status, "", "", stream.headers, keep=keep, request=request)
    if stream.length is not None:
        fields = f"Content-Length: {stream.length}\r\n"
    else:
        fields = "" if request.version == "1.0" else "Transfer-Encoding: chunked\r\n"
    return _head(stream.status, fields, stream.content_type, stream.headers, keep=keep, request=request)


def _head(
    status: int,
    fields: str,
    content_type: str,
    headers: Mapping[str, str],
    *,
    keep: bool,
    request: ReceivedRequest | None,
) -> bytes:
    head = f"HTTP/1.1 {status} {_phrase(status)}\r\n{fields}"
    if content_type:
        head += f"Content-Type: {content_type}\r\n"
    for name, value in headers.items():
        head += f"{name}: {value}\r\n"
    if not keep:
        head += "Connection: close\r\n"
    elif request is not None and request.version == "1.0":
        head += "Connection: keep-alive\r\n"
    return f"{head}\r\n".encode("latin-1")


BODYLESS = frozenset({*range(100, 200), 204, 304})
"""Status codes whose responses have no body (RFC 9112 §6.3).

If a body were sent, the client would read it as the next response.
"""
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {450: "Queue Full", 499: "Client Closed Request"}


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Unknown")
