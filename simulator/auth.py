"""Whether a request carries its service's token: as it is, or as a signature made with it.

Written from the wire contract alone, without a line of the client: a mistake must not be able to cancel itself out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.http1 import Request

_SCHEME = "EAS "


def is_authorized(request: Request, token: str) -> bool:
    """Whether the request may be answered; always, for a service without a token."""
    if not token:
        return True
    given = request.headers.get("authorization", "")
    if given.startswith(_SCHEME):
        return hmac.compare_digest(given[len(_SCHEME) :], _signature(request, token)) and _md5_is_right(request)
    return hmac.compare_digest(given.encode(), token.encode())


def _signature(request: Request, token: str) -> str:
    fields = (request.headers.get(name, "") for name in ("content-md5", "content-type", "date"))
    text = "\n".join(("POST", *fields, request.target))
    signing = _keyed(token).copy()
    signing.update(text.encode())
    return base64.b64encode(signing.digest()).decode()


@lru_cache(maxsize=64)
def _keyed(token: str) -> hmac.HMAC:
    """HMAC-SHA1 with its key, which takes longer than a short text."""
    return hmac.new(token.encode(), digestmod="sha1")


def _md5_is_right(request: Request) -> bool:
    return request.headers.get("content-md5", "") == hashlib.md5(request.body, usedforsecurity=False).hexdigest()
