"""Conversion of a request of httpx2 or httpx to the arguments of `PredictClient.stream`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw import BodyError
from eas_tw.keys import KEY_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw import StreamOptions
    from eas_tw.http_transport.library import Library

    KeyOf = Callable[[Any], str | bytes | None]

MAX_REQUEST_BYTES = 64 * 2**20
"""The default of `max_request_bytes`. A request's body is stored in memory before it is sent."""

_NO_LIMIT_S = 86_400.0
"""The call's timeout in seconds if the library's `read` timeout is `None`.

In httpx `None` means no limit, but a call always has a deadline.
"""

# Header fields that the client sets itself; fields that apply to one connection only (RFC 9110 §7.6.1); and `expect`,
# because the client sends the body without waiting for a response with status 100.
_NOT_FORWARDED = frozenset(
    {
        "connection", "content-length", "content-md5", "date", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


_LAST_EVENT = b"data: [DONE]"
_GRACE_S = 1.0
"""The maximum time, in seconds, to wait for the end of a body after its last event.

The end usually arrives shortly after the last event.
"""


def grace_s(last_piece: bytes) -> float:
    """Return the maximum time to wait for the end of a body that is not read further, in seconds; 0 for no wait.

    `openai` closes a stream after the event `[DONE]`, without reading the end of the chunked body, which many servers
    send in a separate TCP segment. Without the wait, the connection could not be reused.

    Args:
        last_piece: The last piece that was read.
    """
    return _GRACE_S if last_piece.endswith((_LAST_EVENT + b"\n\n", _LAST_EVENT + b"\r\n\r\n")) else 0.0


def call_options(request: Any, *, keep_authorization: bool, key: KeyOf | None = None) -> StreamOptions:
    """Return the arguments of `PredictClient.stream` for a request, except its body.

    The path and the query of the URL are appended to the service's path; the URL's host is ignored.

    Args:
        request: The request of the HTTP library.
        keep_authorization: Whether the request's header `Authorization` is sent; if `False`, it is removed.
        key: A function that returns the call's key, if the request has no header `x-eas-key`; `None` for no key.
    """
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    headers = _headers(request, keep_authorization=keep_authorization)
    named = headers.pop(KEY_HEADER, None)
    options: StreamOptions = {
        "method": request.method,
        "path": "" if path == "/" else path,
        "query": query or None,
        "headers": headers,
        "any_status": True,
        "key": key(request) if named is None and key is not None else named,
    }
    timeout = request.extensions.get("timeout")
    if timeout is not None and "read" in timeout:
        read_s = timeout["read"]
        options["timeout_s"] = options["idle_timeout_s"] = _NO_LIMIT_S if read_s is None else read_s
    return options


def connect_timeout_s(request: Any) -> float | None:
    """Return the request's connect timeout in seconds; `None` for no limit."""
    timeout_s: float | None = (request.extensions.get("timeout") or {}).get("connect")
    return timeout_s


def loaded_content(library: Library, request: Any) -> bytes | None:
    """Return the body of a request if it is in memory, or `None` if it has to be read piece by piece."""
    try:
        content: bytes = request.content
    except library.module.RequestNotRead:
        return None
    return content


class BodyCollector:
    """Collects a streamed request body, up to a limit.

    The body is collected because the signature covers it, and because a failover sends it again.

    Args:
        max_bytes: The maximum size of the body, ≥ 1.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Add a piece.

        Raises:
            BodyError: The body is larger than the limit.
        """
        self._size += len(piece)
        check_size(self._size, self._max_bytes)
        self._pieces.append(piece)

    def content(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._pieces)


def check_size(size: int, max_bytes: int) -> None:
    """Raise `BodyError` if a request body of `size` bytes is larger than `max_bytes`."""
    if size > max_bytes:
        raise BodyError(
            f"the request's body is larger than {max_bytes} bytes, and is held in memory: raise max_request_bytes"
        )


def _headers(request: Any, *, keep_authorization: bool) -> dict[str, str]:
    """Return the header fields to send, with repeated fields joined (RFC 9110 §5.3, RFC 9113 §8.2.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in request.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in _NOT_FORWARDED or (name == "authorization" and not keep_authorization):
            continue
        found[name] = value if name not in found else f"{found[name]}{'; ' if name == 'cookie' else ', '}{value}"
    return found
