"""How a request proves who sent it: the signed form of Authorization, and the Date line it covers.

Pure functions of their arguments (WIRE.md §2). This module does not know where the token came from, which headers
are sent, or what time it is.
"""

from __future__ import annotations

from binascii import b2a_base64
from email.utils import formatdate
from functools import lru_cache
from hashlib import md5, sha1
from typing import Any, NamedTuple

_BLOCK = 64
"""Bytes of SHA-1's block."""


class Signature(NamedTuple):
    """The two header values a signature adds; Date and Content-Type are sent as they were signed.

    Attributes:
        content_md5: For `Content-MD5`: 32 hex digits.
        authorization: For `Authorization`: `EAS ` and the base64 of an HMAC-SHA1.
    """

    content_md5: str
    authorization: str


def sign(token: bytes, body: bytes, path: str, content_type: str, date: str) -> Signature:
    """Sign one POST.

    Args:
        token: The service's token, encoded; the HMAC's key.
        body: The bytes that go on the wire, after compression.
        path: From `/api/predict/` on, query included, as in the request line; group services keep their slash:
            `/api/predict/group/svc/v2?uid=7`.
        content_type: The value of the Content-Type header that is sent.
        date: The value of the Date header that is sent; see `http_date`.

    Returns:
        The values of Content-MD5 and Authorization.
    """
    digest = md5(body, usedforsecurity=False).hexdigest()
    text = f"POST\n{digest}\n{content_type}\n{date}\n{path}".encode()
    inner, outer = _keyed(token)
    half, whole = inner.copy(), outer.copy()
    half.update(text)
    whole.update(half.digest())
    mac = b2a_base64(whole.digest(), newline=False).decode("ascii")
    return Signature(digest, "EAS " + mac)


@lru_cache(maxsize=64)
def _keyed(token: bytes) -> tuple[Any, Any]:
    """The two hashes of HMAC (RFC 2104 §2), fed with the key: what `hmac.digest` does anew for each text."""
    key = sha1(token, usedforsecurity=False).digest() if len(token) > _BLOCK else token
    padded = key.ljust(_BLOCK, b"\0")
    inner = sha1(bytes(byte ^ 0x36 for byte in padded), usedforsecurity=False)
    return inner, sha1(bytes(byte ^ 0x5C for byte in padded), usedforsecurity=False)


def http_date(epoch_s: float) -> str:
    """A moment as RFC 7231 §7.1.1.1 writes it, in true GMT, with English names whatever the locale.

    Args:
        epoch_s: Seconds since 1970-01-01 UTC; the fraction is dropped.

    Returns:
        Such as `Mon, 04 May 2026 19:11:22 GMT`.
    """
    return formatdate(epoch_s // 1, usegmt=True)


class DateLine:
    """`http_date` with a memory of one second, for a caller that signs thousands of requests in each."""

    __slots__ = ("_epoch_s", "_text")

    def __init__(self) -> None:
        self._epoch_s = -1
        self._text = ""

    def at(self, epoch_s: float) -> str:
        """The Date header's value at a moment, formatted once a second.

        Args:
            epoch_s: Seconds since 1970-01-01 UTC, from the caller's clock; it may go backwards.

        Returns:
            The same text as `http_date(epoch_s)`.
        """
        second = int(epoch_s)
        if second != self._epoch_s:
            self._epoch_s = second
            self._text = http_date(second)
        return self._text
