"""What goes over a connection of the simulator: whole requests, whole responses, silence; and a response's bytes."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from simulator.delivery import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.http1 import ServerConnection


class Silence(Enum):
    """Instead of an answer."""

    HANG = "hang"
    """The connection stays open and silent."""


HANG = Silence.HANG


class ReceivedRequest(NamedTuple):
    """A whole request.

    Attributes:
        method: Such as `POST`.
        target: Path and query, as sent; without scheme and host, when a target in absolute form had them; or `*`.
        headers: Names in lower case; of a repeated one the last.
        body: The bytes.
        connection: Where it came in.
        keep: Whether the client lets the connection be kept.
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
    headers: Mapping[str, str] = _NO_HEADERS
    close: bool = False


Answer = Response | Wire | Silence


def render(response: Response, *, keep: bool, request: ReceivedRequest | None = None) -> bytes:
    """A response as bytes.

    Args:
        response: What is answered.
        keep: Whether the connection is kept.
        request: What it answers: a HEAD gets no body, with the length it would have had (RFC 9110 §9.3.2), and a client
            of HTTP/1.0 waits for the close unless it reads `keep-alive` (RFC 9112 §9.3). `None` for a GET of HTTP/1.1.
    """
    is_bodyless = response.status in _BODYLESS
    head = f"HTTP/1.1 {response.status} {_phrase(response.status)}\r\n"
    if not is_bodyless:
        head += f"Content-Length: {len(response.body)}\r\n"
        if response.content_type:
            head += f"Content-Type: {response.content_type}\r\n"
    for name, value in response.headers.items():
        head += f"{name}: {value}\r\n"
    if not keep:
        head += "Connection: close\r\n"
    elif request is not None and request.version == "1.0":
        head += "Connection: keep-alive\r\n"
    has_body = not is_bodyless and (request is None or request.method != "HEAD")
    return f"{head}\r\n".encode("latin-1") + (response.body if has_body else b"")


_BODYLESS = frozenset({*range(100, 200), 204, 304})
"""Statuses whose responses end with their head (RFC 9112 §6.3): a body would be taken for the next response."""
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {450: "Queue Full", 499: "Client Closed Request"}


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Unknown")
