"""Authentication of requests: the token in clear text, as a bearer token, or as a signature made with the token.

The module follows the documented wire format and shares no code with the client, so an error in the client's signing
makes requests fail.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import b2a_base64
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.http1 import ReceivedRequest

_SCHEME = "EAS "
_BEARER = "bearer "
"""The prefix in lower case, since the scheme is case-insensitive (RFC 9110 §11.1)."""


def is_authorized(request: ReceivedRequest, token: str) -> bool:
    """Return whether the request has the service's credentials; true for a service without a token."""
    if not token:
        return True
    given = request.headers.get("authorization", "")
    if given.startswith(_SCHEME):
        return hmac.compare_digest(given[len(_SCHEME) :], _signature(request, token)) and _md5_is_right(request)
    if given[: len(_BEARER)].lower() == _BEARER:
        given = given[len(_BEARER) :].strip()
    return hmac.compare_digest(given.encode(), token.encode())


def has_token(request: ReceivedRequest, token: str) -> bool:
    """Return whether the request has the service's token in clear text; true for a service without a token."""
    return not token or hmac.compare_digest(request.headers.get("authorization", "").encode(), token.encode())


def _signature(request: ReceivedRequest, token: str) -> str:
    field = request.headers.get
    fields = f"{field('content-md5', '')}\n{field('content-type', '')}\n{field('date', '')}"
    signing = _keyed(token).copy()
    signing.update(f"{request.method}\n{fields}\n{request.target}".encode())
    return b2a_base64(signing.digest(), newline=False).decode("ascii")


@lru_cache(maxsize=64)
def _keyed(token: str) -> hmac.HMAC:
    """Return an HMAC-SHA1 object with its key. It is cached: the key setup takes longer than hashing a short text."""
    return hmac.new(token.encode(), digestmod="sha1")


def _md5_is_right(request: ReceivedRequest) -> bool:
    return request.headers.get("content-md5", "") == hashlib.md5(request.body, usedforsecurity=False).hexdigest()
