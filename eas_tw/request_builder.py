"""Construction of wire requests: paths, queries and headers are checked, rendered and signed.

Characters that would allow header injection or request smuggling (CR, LF, spaces, non-ASCII) are rejected when a value
is set, not when a request is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from eas_tw.body.signature import Signer
from eas_tw.display import shown
from eas_tw.errors import ConfigError
from eas_tw.net.attempt import WireRequest
from eas_tw.policy.hosts import checked_host, is_certifiable
from eas_tw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.secret import TokenSource

_MAX_PORT = 65535
DEFAULT_CONTENT_TYPE = "application/octet-stream"
_MOST_USUAL = 16  # limits the cache of header templates, because a program may generate content types

_NAME = r"(?!\.+(?:/|$))[A-Za-z0-9._-]+"  # not "." or "..": RFC 3986 §5.2.4 removes such path segments
_SERVICE = re.compile(rf"{_NAME}(?:/{_NAME})*")
_PATH = re.compile(r"[!-\"$->@-~]*")  # visible ASCII without # and ?
_QUERY = re.compile(r"[!-\"$-~]*")  # visible ASCII without #
_URL = re.compile(
    r"(?:(?P<scheme>https?)://)?(?:\[(?P<six>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\]|(?P<name>[^\s:/?#@\[\]\\]+))"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^\s?#]*)?",
    re.IGNORECASE | re.ASCII,
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_METHOD = re.compile(r"[A-Z][A-Z-]*")  # RFC 9110 §9.1 allows more; all registered methods match this
_VALUE = re.compile(r"[\t -~]*")  # RFC 9110 §5.5, without obs-text (bytes above 0x7F)
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-md5", "date", "authorization"})


def check_service(name: str) -> str:
    """Return a service name, or raise `ConfigError` if it is not valid."""
    if not isinstance(name, str) or not _SERVICE.fullmatch(name):
        raise ConfigError(
            "service_name must be letters, digits and ._-, not dots alone (with / between group and service), "
            f"got {shown(name)}"
        )
    return name


def check_endpoint(endpoint: str, what: str = "endpoint") -> str:
    """Normalize an endpoint to scheme, authority and path.

    Args:
        endpoint: An endpoint, with or without `http://` and a slash at the end. The host is a name (underscores and a
            dot at the end are allowed) or an address (IPv6 in brackets).
        what: The name of the setting, for the error message.

    Returns:
        The URL, such as `http://[::1]:8780/base`, with the host in lower case and without a slash at the end.

    Raises:
        ConfigError: The endpoint is not valid.
    """
    try:
        return _endpoint(endpoint)
    except (ValueError, TypeError) as error:
        text = re.sub(r"[^/]*@", "…@", shown(endpoint))  # hides a user and password
        raise ConfigError(
            f'{what} must look like "pai-eas-vpc.cn-shanghai.aliyuncs.com" or a URL of it, got {text}: {error}'
        ) from None


def _endpoint(endpoint: str) -> str:
    if not isinstance(endpoint, str):
        raise TypeError("it is not a string")
    parts = _URL.fullmatch(endpoint)
    if parts is None:
        raise ValueError(
            "it must be an http or https URL without user, query and fragment (IPv6 in brackets, without a zone)"
        )
    scheme, six, name, port = parts.group("scheme", "six", "name", "port")
    path = parts["path"] or ""
    if not _PATH.fullmatch(path):
        raise ValueError("its path must be percent-encoded visible ASCII")
    if port is not None and not 1 <= int(port) <= _MAX_PORT:
        raise ValueError(f"its port is not from 1 to {_MAX_PORT}")
    host = checked_host(name).lower() if six is None else f"[{checked_host(six)}]"
    if scheme and scheme.lower() == "https" and not is_certifiable(host):
        raise ValueError("https takes a name without _ and without -- in the third place, which a certificate can have")
    return f"{(scheme or 'http').lower()}://{host}{f':{int(port)}' if port else ''}{path.rstrip('/')}"


def check_headers(headers: Mapping[str, str], *, may_authorize: bool = False) -> dict[str, str]:
    """Return a copy of `headers`, or raise `ConfigError` with the name of an invalid header.

    White space at the ends of a value is removed, because it is not part of the value (RFC 9110 §5.5). The message
    never has the value, which may be a secret.

    Args:
        headers: The headers.
        may_authorize: Whether `Authorization` is allowed; only for a client without a token.
    """
    if not isinstance(headers, Mapping):
        raise ConfigError(f"headers must be a mapping of names to values, got {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigError(f"header name {shown(name)} is not valid: it must be letters, digits and -_.")
        if name.lower() in _OURS and not (may_authorize and name.lower() == "authorization"):
            raise ConfigError(f"header {name} is set by the client itself")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ConfigError(f"the value of header {name} must be a string of visible ASCII without line breaks")
    return {name: value.strip(" \t") for name, value in headers.items()}


def check_method(method: str) -> str:
    """Return an HTTP method in upper case, or raise `ConfigError` if it is not valid."""
    if isinstance(method, str) and _METHOD.fullmatch(method.upper()) and method.upper() != "CONNECT":
        return method.upper()
    raise ConfigError(f"method must be an HTTP method such as GET or POST, and not CONNECT, got {shown(method)}")


def check_content_type(content_type: str) -> str:
    """Return a content type without white space at its ends, or raise `ConfigError` if it is not valid.

    A server removes the white space (RFC 9110 §5.5), so a signature of it would be wrong.
    """
    if not isinstance(content_type, str) or not content_type.strip() or not _VALUE.fullmatch(content_type):
        raise ConfigError(f"content_type must be a string of visible ASCII, got {shown(content_type)}")
    return content_type.strip()


class RequestBuilder:
    """Builds the wire requests of one client from its token, headers and the arguments of each call.

    Args:
        seconds: A function that returns seconds since the epoch, for the Date header of the signature.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._base = ""
        self._auth = "signature"
        self._token = Secret("")
        self._token_source: Callable[[], str] | None = None
        self._content_type = ""
        self._extra: dict[str, str] = {}
        self._usual: dict[str | None, HeaderTemplate] = {}

    def current_token(self) -> Secret:
        """Return the token for a request; a function given as token is called for it.

        Raises:
            ConfigError: The function raises, or returns anything but a token.
        """
        if self._token_source is not None:
            self._ask_for_token(self._token_source)
        return self._token

    @property
    def extra_headers(self) -> Mapping[str, str]:
        """The headers of every request."""
        return self._extra

    def address(self, base: str, *, auth: str) -> None:
        """Set the service's path and the authentication method.

        Args:
            base: The service's path, such as `/api/predict/mnist`.
            auth: The authentication method, as `ClientConfig.auth`.
        """
        self._base = base
        self._auth = auth
        self._usual = {}

    def set_token(self, token: TokenSource) -> None:
        """Set the token, or the function that returns it; requests are not authenticated if it is empty."""
        if callable(token):
            self._token_source = token
            return
        self._use_token(token, "token")
        self._token_source = None

    def _use_token(self, token: str, what: str) -> None:
        # White space at the ends is not a part of a field value (RFC 9110 §5.5), and wsproto refuses it.
        if not isinstance(token, str) or not _VALUE.fullmatch(token) or token != token.strip():
            raise ConfigError(
                f"{what} must be a string of visible ASCII; the one given {_fault(token)} (it is not shown here)"
            )
        self._token = Secret(token)
        self._usual = {}

    def _ask_for_token(self, source: Callable[[], str]) -> None:
        """Call `source`, and use its result as the token. Cached header templates remain if the token is the same."""
        try:
            token = source()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # The message is not included, because it may contain the token.
            raise ConfigError(f"the function given as token raised {type(error).__name__}") from error
        if token != self._token.reveal():
            self._use_token(token, "what the function given as token returns")

    def set_content_type(self, content_type: str) -> None:
        """Set the Content-Type of all requests, which overrides the type of a request object."""
        self._content_type = check_content_type(content_type)
        self._usual = {}

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Add headers to every request; a header with the same name is replaced."""
        self._extra = {**self._extra, **check_headers(headers)}
        self._usual = {}

    def build(
        self,
        body: bytes,
        path: str = "",
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        method: str = "POST",
    ) -> WireRequest:
        """Build and sign a request.

        Args:
            body: The serialised request.
            path: The path relative to the service's path, percent-encoded; empty for the service's path itself.
            query: A mapping of query fields, or an encoded query; `None` for none.
            headers: Headers of this call only, which may contain `Content-Type`, and `Authorization` if the client has
                no token; `None` for none.
            content_type: The type of the request object; `headers`, `set_content_type` and `add_headers` override it.
                `None` for `application/octet-stream`.
            method: The HTTP method in upper case.

        Raises:
            ConfigError: `path`, `query` or `headers` has a character that is not allowed, or the function given
                as token fails.
        """
        if self._token_source is not None:
            self._ask_for_token(self._token_source)
        if query is None and headers is None and type(path) is str and not path and method == "POST":
            try:
                template = self._usual[content_type]
            except (KeyError, TypeError):
                template = self._remember(content_type)
        else:
            template = self._header_template(path, query, {} if headers is None else headers, content_type, method)
        signer = template.signer
        credentials = b"" if signer is None else signer.lines(body, self._seconds())
        return WireRequest(
            template.method, template.target, b"%b%d\r\n%b" % (template.fields, len(body), credentials), body
        )

    def template(
        self,
        path: str = "",
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        method: str = "POST",
    ) -> HeaderTemplate:
        """Build the header template of a request whose body is compressed or hashed first; `complete` adds the body.

        Arguments and errors are those of `build`. The arguments may be changed afterwards.
        """
        if self._token_source is not None:
            self._ask_for_token(self._token_source)
        return self._header_template(path, query, {} if headers is None else headers, content_type, method)

    def complete(self, template: HeaderTemplate, body: bytes, md5_text: str | None = None) -> WireRequest:
        """Add the body and the signature to a template.

        Args:
            template: The result of `template`.
            body: The body as sent.
            md5_text: The body's MD5 as 32 hexadecimal digits if it is known; `None` to compute it if it is needed.
        """
        signer = template.signer
        credentials = b"" if signer is None else signer.lines(body, self._seconds(), md5_text)
        return WireRequest(
            template.method, template.target, b"%b%d\r\n%b" % (template.fields, len(body), credentials), body
        )

    def _remember(self, content_type: str | None) -> HeaderTemplate:
        """Create and cache the header template of calls without path, query and headers."""
        template = self._header_template("", None, {}, content_type, "POST")
        if len(self._usual) >= _MOST_USUAL:
            self._usual = {}
        self._usual[content_type] = template
        return template

    def _header_template(
        self,
        path: str,
        query: Mapping[str, str] | str | None,
        headers: Mapping[str, str],
        own_type: str | None,
        method: str,
    ) -> HeaderTemplate:
        target = self._base + check_path(path) + _query(query)
        content_type, extra = self._merge(headers, own_type)
        lines = [f"Content-Type: {content_type}", *(f"{name}: {value}" for name, value in extra.items())]
        signer = None
        if not self._token:
            pass
        elif self._auth == "token":
            lines.append(f"Authorization: {self._token.reveal()}")
        elif self._auth == "bearer":
            lines.append(f"Authorization: Bearer {self._token.reveal()}")
        else:
            signer = Signer(self._token.reveal().encode("ascii"), target, content_type, method)
        lines.append("Content-Length: ")
        return HeaderTemplate(
            method.encode("ascii"), target.encode("ascii"), "\r\n".join(lines).encode("ascii"), signer
        )

    def _merge(self, headers: Mapping[str, str], own_type: str | None) -> tuple[str, dict[str, str]]:
        """Merge the headers of one call with the extra headers; names are compared without regard to case.

        Returns:
            The content type, and the other headers. A header of the call overrides an extra header.
        """
        own_type = DEFAULT_CONTENT_TYPE if own_type is None else check_content_type(own_type)
        usual = self._content_type or own_type
        merged: dict[str, tuple[str, str]] = {}
        for name, value in (*self._extra.items(), *check_headers(headers, may_authorize=not self._token).items()):
            merged[name.lower()] = (name, value)
        _, content_type = merged.pop("content-type", ("", usual))
        return content_type, dict(merged.values())


class HeaderTemplate(NamedTuple):
    """The method, target and header lines that equal requests share.

    Attributes:
        method: The HTTP method.
        target: The path and the query.
        fields: The header lines, which end with `Content-Length: `; the value and the signature are appended for each
            request.
        signer: Signs the requests; `None` if they are not signed.
    """

    method: bytes
    target: bytes
    fields: bytes
    signer: Signer | None

    def __repr__(self) -> str:
        """Return a text without the header fields, which may contain the token."""
        return f"<header template of {self.target.decode()}>"


def check_path(path: str) -> str:
    """Return a path relative to the service's, with a slash in front unless it is empty, or raise `ConfigError`."""
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ConfigError(f"path must be percent-encoded visible ASCII without ? and #, got {shown(path)}")
    return path if not path or path.startswith("/") else f"/{path}"


def _query(query: Mapping[str, str] | str | None) -> str:
    if query is None:
        return ""
    try:
        text = query.removeprefix("?") if isinstance(query, str) else urlencode(query, doseq=True)
    except (TypeError, ValueError) as error:  # a lone surrogate raises UnicodeEncodeError, a ValueError
        raise ConfigError(f"query must be a mapping of names to values, or a string, got {shown(query)}") from error
    if not _QUERY.fullmatch(text):
        raise ConfigError(f"query must be percent-encoded visible ASCII without #, got {shown(query)}")
    return f"?{text}" if text else ""


def _fault(token: object) -> str:
    """Describe the error in a token, without revealing any part of the token."""
    if not isinstance(token, str):
        return f"is of type {type(token).__name__}"
    return "begins or ends with white space" if token != token.strip() else "is not"
