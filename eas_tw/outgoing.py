"""From what a caller says to what is sent: paths, queries and headers, checked, rendered and signed.

Refuses what could break out of its place in the request (CR, LF, spaces, non-ASCII) when it is set, not when it is
sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

from eas_tw.body.signature import Signer
from eas_tw.errors import ConfigError
from eas_tw.net.leg import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_CONTENT_TYPE = "application/octet-stream"

_NAME = r"(?!\.+(?:/|$))[A-Za-z0-9._-]+"  # dots alone would lead elsewhere: RFC 3986 §5.2.4
_SERVICE = re.compile(rf"{_NAME}(?:/{_NAME})*")
_PATH = re.compile(r"[!-\"$->@-~]*")  # visible ASCII without # and ?
_QUERY = re.compile(r"[!-\"$-~]*")  # visible ASCII without #
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t -~]*")  # RFC 9110 §5.5, without the obsolete octets
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-md5", "date", "authorization"})


def check_service(name: str) -> str:
    """`name`, or a `ConfigError`."""
    if not isinstance(name, str) or not _SERVICE.fullmatch(name):
        raise ConfigError(
            "service_name must be letters, digits and ._-, not dots alone (with / between group and service), "
            f"got {name!r}"
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


class Envelope:
    """What every request of a client to one service has in common.

    Args:
        seconds: The clock, in seconds since the epoch, for the Date of the signature.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._base = ""
        self._plain = False
        self._key = b""
        self._content_type = DEFAULT_CONTENT_TYPE
        self._extra: dict[str, str] = {}
        self._usual: _Letterhead | None = None

    def address(self, base: str, *, plain: bool) -> None:
        """Send to this path and to paths below it.

        Args:
            base: Such as `/api/predict/mnist`.
            plain: Whether the token itself is sent, and not a signature made with it.
        """
        self._base = base
        self._plain = plain
        self._usual = None

    def set_token(self, token: str) -> None:
        """Sign with this token from now on; empty for not at all."""
        if not isinstance(token, str) or not _VALUE.fullmatch(token):
            raise ConfigError("token must be a string of visible ASCII; the one given is not (it is not shown here)")
        self._key = token.encode("ascii")
        self._usual = None

    def set_content_type(self, content_type: str) -> None:
        """Say that bodies are of this type."""
        if not isinstance(content_type, str) or not content_type or not _VALUE.fullmatch(content_type):
            raise ConfigError(f"content type must be a string of visible ASCII, got {content_type!r}")
        self._content_type = content_type
        self._usual = None

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Send these with every request, too."""
        self._extra = {**self._extra, **check_headers(headers)}
        self._usual = None

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
        if path or query or headers:
            paper = self._letterhead(path, query, headers or {})
        else:
            paper = self._usual = self._usual or self._letterhead("", None, {})
        signer = paper.signer
        credentials = b"" if signer is None else signer.lines(body, self._seconds())
        return Request(paper.target, b"%b%d\r\n%b" % (paper.fields, len(body), credentials), body)

    def _letterhead(self, path: str, query: Mapping[str, str] | str | None, headers: Mapping[str, str]) -> _Letterhead:
        target = self._base + _below(path) + _query(query)
        content_type, extra = self._merge(headers)
        lines = [f"Content-Type: {content_type}", *(f"{name}: {value}" for name, value in extra.items())]
        signer = None
        if self._plain and self._key:
            lines.append(f"Authorization: {self._key.decode()}")
        elif self._key:
            signer = Signer(self._key, target, content_type)
        lines.append("Content-Length: ")
        return _Letterhead(target.encode("ascii"), "\r\n".join(lines).encode("ascii"), signer)

    def _merge(self, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Content type and other headers of one call; later ones win, whatever the case of their names."""
        merged: dict[str, tuple[str, str]] = {}
        for name, value in (*self._extra.items(), *check_headers(headers).items()):
            merged[name.lower()] = (name, value)
        _, content_type = merged.pop("content-type", ("", self._content_type))
        return content_type, dict(merged.values())


class _Letterhead(NamedTuple):
    """What the requests to one target with the same headers share; `fields` ends where the length goes."""

    target: bytes
    fields: bytes
    signer: Signer | None

    def __repr__(self) -> str:
        """Without the fields, which have the token in its plain form."""
        return f"<letterhead of {self.target.decode()}>"


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
