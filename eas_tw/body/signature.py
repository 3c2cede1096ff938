"""Signature of a request: the signed form of Authorization, and the Date header that is part of the signed text.

The rules are on the page docs/reference/wire.md. The caller provides the token, the path and the time; this module does
not read the clock or the configuration.
"""

from __future__ import annotations

from binascii import b2a_base64
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from eas_tw.body.hashes import md5_hex, sha1

_BLOCK = 64
"""Block size of SHA-1 in bytes."""


class Signer:
    """Signs requests that have the same method, path and content type.

    The parts that do not depend on the body are computed once per second.

    Args:
        token: The service's token as bytes, which is the key of the HMAC.
        path: The path from `/api/predict/` on, with the query, as in the request line. The slash in the name of a group
            service is not escaped: `/api/predict/group/svc/v2?uid=7`.
        content_type: The value of the Content-Type header that is sent.
        method: The HTTP method.
    """

    __slots__ = ("_content_type", "_inner", "_lines", "_method", "_outer", "_path", "_second", "_tail")

    def __init__(self, token: bytes, path: str, content_type: str, method: str = "POST") -> None:
        self._method = method.encode("ascii")
        self._inner, self._outer = _keyed(token)
        self._path = path
        self._content_type = content_type
        self._second = -1

    def __repr__(self) -> str:
        return f"Signer({self._path})"

    def lines(self, body: bytes, epoch_s: float, md5_text: str | None = None) -> bytes:
        """Return the header lines of a signature.

        Args:
            body: The body as sent, after compression.
            epoch_s: The current time in seconds since 1970-01-01 UTC, from the caller's clock; the time may go
                backwards.
            md5_text: The result of `md5_hex(body)` if it is known; `None` to compute it.

        Returns:
            `Content-MD5` (32 hex digits), `Date` and `Authorization` (`EAS ` and the base64 of an HMAC-SHA1), each
            ended by CRLF.
        """
        second = int(epoch_s)
        if second != self._second:
            self._turn_to(second)
        digest = (md5_hex(body) if md5_text is None else md5_text).encode()
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(b"%b\n%b%b" % (self._method, digest, self._tail))
        outer.update(inner.digest())
        return self._lines % (digest, b2a_base64(outer.digest(), newline=False))

    def _turn_to(self, second: int) -> None:
        date = http_date(second)
        self._tail = f"\n{self._content_type}\n{date}\n{self._path}".encode()
        self._lines = b"Content-MD5: %%b\r\nDate: %b\r\nAuthorization: EAS %%b\r\n" % date.encode()
        self._second = second


@lru_cache(maxsize=64)
def _keyed(token: bytes) -> tuple[Any, Any]:
    """Return the inner and outer hash of an HMAC after the key block (RFC 2104 §2).

    The hashes are cached for each token, because `hmac.digest` would compute them again for each text.
    """
    key = sha1(token).digest() if len(token) > _BLOCK else token
    padded = key.ljust(_BLOCK, b"\0")
    inner = sha1(bytes(byte ^ 0x36 for byte in padded))
    return inner, sha1(bytes(byte ^ 0x5C for byte in padded))


def http_date(epoch_s: float) -> str:
    """Format a time as RFC 9110 §5.6.7 requires, in GMT, with English names in every locale.

    Args:
        epoch_s: Seconds since 1970-01-01 UTC; the fraction is dropped.

    Returns:
        Text such as `Mon, 04 May 2026 19:11:22 GMT`.
    """
    return formatdate(epoch_s // 1, usegmt=True)
