"""Validation of a request's head in addition to the parser: rules of HTTP/1.1, and limits of this server. No I/O."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

MAX_BODY_BYTES = 256 * 2**20
_ABSOLUTE = re.compile(r"https?://([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%]+\]|[\w.~!$&'()*+,;=%-]*)(?::[0-9]*)?", re.ASCII)
"""`uri-host [":" port]` of RFC 9110 §7.2; the host may be empty."""


class RefusedRequest(Exception):
    """Raised for a request that is answered with an error instead of being passed to the handler.

    Attributes:
        status: HTTP status of the error.
    """

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


def check(method: str, target: str, version: str, headers: MutableMapping[str, str]) -> str:
    """Validate a head, and parse its target.

    Args:
        method: HTTP method, such as `POST`.
        target: Target as sent: a path, an absolute form as sent to a proxy, or `*`.
        version: HTTP version, such as `1.1`.
        headers: Header fields with names in lower case. The host of a target in absolute form replaces `host` (RFC 9112
            §3.2.2).

    Returns:
        Path and query of the target, or `*`.

    Raises:
        RefusedRequest: HTTP/1.1 forbids the head, or this server does not support it.
    """
    if version not in ("1.1", "1.0"):
        raise RefusedRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{version} is not supported")
    if method == "CONNECT":
        raise RefusedRequest(HTTPStatus.NOT_IMPLEMENTED, "CONNECT is not supported: this server is not a proxy")
    if "transfer-encoding" in headers and headers["transfer-encoding"].strip().lower() != "chunked":
        raise RefusedRequest(HTTPStatus.NOT_IMPLEMENTED, "the only Transfer-Encoding that is supported is chunked")
    if int(headers.get("content-length", 0)) > MAX_BODY_BYTES:
        raise RefusedRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
    host = headers.get("host")
    if host is None and version != "1.0":
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, "the Host header is missing")
    if host is not None and not _HOST.fullmatch(host):
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, "the Host header is not a host and a port")
    return target if target.startswith("/") else _path(method, target, headers)


def _path(method: str, target: str, headers: MutableMapping[str, str]) -> str:
    if target == "*" and method == "OPTIONS":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not _HOST.fullmatch(absolute[1]):
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, "the target is neither a path nor http://HOST/PATH")
    headers["host"] = absolute[1]
    path = absolute[2].partition("#")[0]
    if not path and method == "OPTIONS":
        return "*"
    return path if path.startswith("/") else f"/{path}"
