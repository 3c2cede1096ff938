"""From what a caller says to what is sent: paths, queries and headers, checked, rendered and signed.

Refuses what could break out of its place in the request (CR, LF, spaces, non-ASCII) when it is set, not when it is sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from eas_tw.body.signature import DateLine, sign
from eas_tw.errors import ConfigError
from eas_tw.net.call import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_CONTENT_TYPE = "application/octet-stream"

_SERVICE = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_PATH = re.compile(r"[!-\"$->@-~]*")  # visible ASCII without # and ?
_QUERY = re.compile(r"[!-\"$-~]*")  # visible ASCII without #
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t -~]*")  # RFC 9110 §5.5, without the obsolete octets
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-md5", "date", "authorization"})


def check_service(name: str) -> str:
    """`name`, or a `ConfigError`."""
    if not isinstance(name, str) or not _SERVICE.fullmatch(name):
        raise ConfigError(
            f"service_name must be letters, digits and ._- (with / between group and service), got {name!r}"
        )
    return name


def check_endpoint(endpoint: str) -> str:
    """An endpoint as scheme and authority, whichever way it was written.

    Args:
        endpoint: With or without `http://`, with or without a slash at the end.
    """
    text = endpoint if "://" in str(endpoint) else f"http://{endpoint}"
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and _PATH.fullmatch(parts.path)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username or not text.isascii() or re.search(r"\s", text):
        raise ConfigError(
            f'endpoint must look like "pai-eas-vpc.cn-shanghai.aliyuncs.com" or a URL of it, got {endpoint!r}'
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def check_token(token: str) -> str:
    """`token`, or a `ConfigError` that does not show it."""
    if not isinstance(token, str) or not _VALUE.fullmatch(token):
        raise ConfigError("token must be a string of visible ASCII; the one given is not (it is not shown here)")
    return token


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A copy of `headers`, or a `ConfigError` that names the bad one; values may be secrets and are not shown."""
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigError(f"header name {name!r} is not one: letters, digits and -_.")
        if name.lower() in _OURS:
            raise ConfigError(f"header {name} is set by the client itself")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ConfigError(f"the value of header {name} must be a string of visible ASCII without line breaks")
    return dict(headers)


def check_content_type(value: str) -> str:
    """`value`, or a `ConfigError`."""
    if not isinstance(value, str) or not value or not _VALUE.fullmatch(value):
        raise ConfigError(f"content type must be a string of visible ASCII, got {value!r}")
    return value


class Envelope:
    """What every request of a client to one service has in common.

    Attributes:
        token: The service's token; empty for none.
        content_type: Of the body.
        extra_headers: Sent with every request.
        plain: Whether the token itself is sent, and not a signature made with it.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._date = DateLine()
        self._base = ""
        self.token = ""
        self.content_type = DEFAULT_CONTENT_TYPE
        self.extra_headers: dict[str, str] = {}
        self.plain = False

    def address(self, base: str) -> None:
        """Send to this path, such as `/api/predict/mnist`, and to paths below it."""
        self._base = base

    def seal(
        self,
        body: bytes,
        path: str = "",
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Request:
        """The request to send now.

        Args:
            body: The serialised request.
            path: Below the service's own path, percent-encoded.
            query: Fields to encode, or an encoded query.
            headers: Of this call only; `Content-Type` may be among them.

        Raises:
            ConfigError: Something would not stay in its place in the request.
        """
        target = self._base
        if path or query:
            target += _below(path) + _query(query)
        content_type = self.content_type
        extra = self.extra_headers
        if headers:
            extra = {**extra, **check_headers(headers)}
        if extra:
            extra = dict(extra)
            for name in list(extra):
                if name.lower() == "content-type":
                    content_type = extra.pop(name)
        lines = self._credentials(body, target, content_type)
        for name, value in extra.items():
            lines += f"{name}: {value}\r\n"
        fields = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{lines}"
        return Request(target.encode("ascii"), fields.encode("ascii"), body)

    def _credentials(self, body: bytes, target: str, content_type: str) -> str:
        if not self.token:
            return ""
        if self.plain:
            return f"Authorization: {self.token}\r\n"
        date = self._date.at(self._seconds())
        md5, authorization = sign(self.token.encode(), body, target, content_type, date)
        return f"Content-MD5: {md5}\r\nDate: {date}\r\nAuthorization: {authorization}\r\n"


def _below(path: str) -> str:
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ConfigError(f"path must be percent-encoded visible ASCII without ? and #, got {path!r}")
    return path if not path or path.startswith("/") else f"/{path}"


def _query(query: Mapping[str, str] | str | None) -> str:
    if not query:
        return ""
    text = query.removeprefix("?") if isinstance(query, str) else urlencode(query, doseq=True)
    if not _QUERY.fullmatch(text):
        raise ConfigError(f"query must be percent-encoded visible ASCII without #, got {query!r}")
    return f"?{text}"
