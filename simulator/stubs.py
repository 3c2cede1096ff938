"""Stubs: canned responses of a service, with the requests that they match and the number of their uses.

Stubs are for tests of an application; the terms are those of WireMock's stub mappings. They take precedence over the
service's processor. A service with stubs answers an unmatched request with 404, so that tests detect a missing stub.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from attrs import define, field, frozen

from simulator.messages import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from simulator.messages import ReceivedRequest

MAX_STUBS = 1_000
MAX_RESPONSES = 10_000
MAX_UNMATCHED = 100
MAX_DELAY_S = 3_600.0
_MAX_PATH = 200
"""Number of characters of the path of an unmatched request that are stored."""
_REQUEST_FIELDS = ("method", "path", "query", "headers", "body", "body_base64", "contains", "json")
_RESPONSE_FIELDS = ("status", "headers", "body", "body_base64", "json", "content_type", "delay_s", "forward")
_STUB_FIELDS = ("name", "request", "responses", "times")
_ABSENT: Any = object()


class StubError(ValueError):
    """Raised for an invalid stub; the text begins with the path of the wrong value."""


@frozen
class RequestPattern:
    """The conditions of a stub; the stub answers only requests that meet all of them.

    Attributes:
        method: HTTP method; empty for any.
        path: Path relative to the service's path, such as `/v1/chat/completions`; `None` for any.
        query: Query fields that must be present.
        headers: Header fields that must be present; names in lower case.
        body: The exact body; `None` for any.
        contains: Bytes that the body must contain; empty for any body.
        json: The JSON value of the body; `_ABSENT` for any.
    """

    method: str = ""
    path: str | None = None
    query: Mapping[str, str] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    contains: bytes = b""
    json: Any = _ABSENT

    def matches(self, request: ReceivedRequest, path: str) -> bool:
        """Return whether a request meets all conditions.

        `path` is the request's path relative to the service's path.
        """
        return (
            self.method in ("", request.method)
            and self.path in (None, path)
            and all(request.headers.get(name) == value for name, value in self.headers.items())
            and self.query.items() <= dict(parse_qsl(request.query, keep_blank_values=True)).items()
            and self._matches_body(request.body)
        )

    def _matches_body(self, body: bytes) -> bool:
        if (self.body is not None and body != self.body) or self.contains not in body:
            return False
        if self.json is _ABSENT:
            return True
        try:
            return bool(json.loads(body) == self.json)
        except (ValueError, RecursionError):
            return False

    def __str__(self) -> str:
        parts = [self.method or "any method", self.path if self.path is not None else "any path"]
        parts += [f"?{name}={value}" for name, value in self.query.items()]
        # Only the names of headers are shown: their values may be secrets.
        parts += [f"header {name}" for name in self.headers]
        if self.body is not None or self.contains or self.json is not _ABSENT:
            parts.append("with a body")
        return " ".join(parts)


@frozen
class StubResponse:
    """One canned response.

    Attributes:
        response: The response, used unless `forward` is set.
        delay_s: Seconds that a worker takes before the response is sent; ignored if `forward` is set.
        forward: URL to which the request is forwarded instead; empty for none.
    """

    response: Response
    delay_s: float = 0.0
    forward: str = ""


@define
class Stub:
    """A stub, with the number of requests that it has answered.

    Attributes:
        name: Name, unique in its service.
        request: Conditions on the requests that the stub answers.
        responses: Responses, used in order; the last response is repeated.
        times: Maximum number of requests that the stub answers; `None` for no limit.
        hits: Number of requests that the stub has answered.
    """

    name: str
    request: RequestPattern
    responses: Sequence[StubResponse]
    times: int | None = None
    hits: int = 0

    @property
    def is_spent(self) -> bool:
        """Whether the stub has answered its maximum number of requests."""
        return self.times is not None and self.hits >= self.times

    def next_response(self) -> StubResponse:
        """Choose the response to the next request, and count the request in `hits`."""
        chosen = self.responses[min(self.hits, len(self.responses) - 1)]
        self.hits += 1
        return chosen


class Stubs:
    """The stubs of one service, in the order in which their names were first added.

    A request is answered by the first stub that matches it and is not used up.

    Attributes:
        unmatched: The last requests that no stub answered, each as `METHOD path`; a long path ends with `…`. Requests
            that match only used-up stubs are included.
        unmatched_total: Number of all requests that no stub answered.
    """

    def __init__(self) -> None:
        self._stubs: dict[str, Stub] = {}
        self.unmatched: deque[str] = deque(maxlen=MAX_UNMATCHED)
        self.unmatched_total = 0

    def __iter__(self) -> Iterator[Stub]:
        return iter(self._stubs.values())

    def __len__(self) -> int:
        return len(self._stubs)

    def add(self, stub: Stub) -> Stub:
        """Add a stub. It replaces a stub of the same name, and takes the position of that stub.

        Raises:
            StubError: The service already has `MAX_STUBS` stubs.
        """
        if len(self._stubs) >= MAX_STUBS and stub.name not in self._stubs:
            raise StubError(f"$: a service has at most {MAX_STUBS} stubs")
        self._stubs[stub.name] = stub
        return stub

    def clear(self) -> None:
        """Remove all stubs and the recorded unmatched requests."""
        self._stubs.clear()
        self.unmatched.clear()
        self.unmatched_total = 0

    def answer(self, request: ReceivedRequest, path: str) -> StubResponse:
        """Choose the response to a request: from the first stub that matches and is not used up, or a 404.

        Args:
            request: The request.
            path: The request's path relative to the service's path.
        """
        for stub in self:
            if not stub.is_spent and stub.request.matches(request, path):
                return stub.next_response()
        self.unmatched_total += 1
        self.unmatched.append(f"{request.method} {path[:_MAX_PATH]}{'…' if len(path) > _MAX_PATH else ''}")
        known = "; ".join(f"{stub.request}{' (used up)' if stub.is_spent else ''}" for stub in list(self)[:10])
        text = f"no stub matches {request.method} {path[:_MAX_PATH] or '/'}; there are: {known}\n"
        return StubResponse(Response(404, text.encode("utf-8", "replace"), "text/plain; charset=utf-8"))


def read_stub(given: Any, name: str, where: str = "$") -> Stub:
    """Parse a stub from its JSON or TOML form.

    Args:
        given: A table with `name`, `request`, `responses` and `times`.
        name: Name of the stub if the table has none.
        where: Path of the table, for error messages.

    Raises:
        StubError: The table is invalid.
    """
    table = _table(given, where, _STUB_FIELDS)
    responses = table.get("responses", [{}])
    if not isinstance(responses, list) or not 1 <= len(responses) <= MAX_RESPONSES:
        raise StubError(f"{where}.responses: expected a list of 1 to {MAX_RESPONSES} responses")
    times = table.get("times")
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
        raise StubError(f"{where}.times: expected a whole number ≥ 1, got {times!r}")
    return Stub(
        _string(table, "name", where, name) or name,
        _read_pattern(table.get("request", {}), f"{where}.request"),
        tuple(_read_response(one, f"{where}.responses[{at}]") for at, one in enumerate(responses)),
        times,
    )


def read_stubs(document: Mapping[str, Any]) -> list[Stub]:
    """Parse the stubs of a recording: the tables `[[stub]]` of a TOML file.

    Raises:
        StubError: A table is invalid.
    """
    tables = _table(document, "$", ("stub",)).get("stub", [])
    if not isinstance(tables, list):
        raise StubError("$.stub: expected tables [[stub]]")
    return [read_stub(table, f"stub-{at}", f"$.stub[{at}]") for at, table in enumerate(tables)]


def _read_pattern(given: Any, where: str) -> RequestPattern:
    table = _table(given, where, _REQUEST_FIELDS)
    if "body" in table and "body_base64" in table:
        raise StubError(f"{where}: give body or body_base64, not both")
    return RequestPattern(
        _string(table, "method", where).upper(),
        _string(table, "path", where) if "path" in table else None,
        _strings(table, "query", where),
        {name.lower(): value for name, value in _strings(table, "headers", where).items()},
        _bytes(table, "body", where),
        _string(table, "contains", where).encode(),
        table.get("json", _ABSENT),
    )


def _read_response(given: Any, where: str) -> StubResponse:
    table = _table(given, where, _RESPONSE_FIELDS)
    bodies = [name for name in ("body", "body_base64", "json") if name in table]
    if len(bodies) > 1:
        raise StubError(f"{where}: give one of {', '.join(bodies)}")
    status, delay_s = table.get("status", 200), table.get("delay_s", 0)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:  # noqa: PLR2004
        raise StubError(f"{where}.status: expected a whole number from 200 to 599, got {status!r}")
    if not isinstance(delay_s, int | float) or isinstance(delay_s, bool) or not 0 <= delay_s <= MAX_DELAY_S:
        raise StubError(f"{where}.delay_s: expected a number from 0 to {MAX_DELAY_S:g}, got {delay_s!r}")
    body = json.dumps(table["json"]).encode() if "json" in table else _bytes(table, "body", where) or b""
    usual = "application/json" if "json" in table else "application/octet-stream"
    headers = _strings(table, "headers", where)
    for name, value in headers.items():
        if any(character in name + value for character in "\r\n"):
            raise StubError(f"{where}.headers.{name!r}: a header has no line breaks")
    response = Response(status, body, _string(table, "content_type", where, usual), headers)
    return StubResponse(response, float(delay_s), _loopback(_string(table, "forward", where), f"{where}.forward"))


def _loopback(url: str, where: str) -> str:
    # Only loopback URLs are accepted: otherwise the admin API could be used to send requests to any host.
    if url and not url.startswith(("http://127.0.0.1:", "http://[::1]:")):
        raise StubError(f"{where}: expected a URL on 127.0.0.1 or [::1], got {url[:60]!r}")
    return url


def _table(given: Any, where: str, known: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise StubError(f"{where}: expected a table, got {type(given).__name__}")
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise StubError(f"{where}.{unknown[0]}: unknown; known are {', '.join(known)}")
    return given


def _string(table: Mapping[str, Any], name: str, where: str, default: str = "") -> str:
    value = table.get(name, default)
    if not isinstance(value, str):
        raise StubError(f"{where}.{name}: expected a string, got {type(value).__name__}")
    return value


def _strings(table: Mapping[str, Any], name: str, where: str) -> dict[str, str]:
    value = table.get(name, {})
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise StubError(f"{where}.{name}: expected a table of strings")
    return value


def _bytes(table: Mapping[str, Any], name: str, where: str) -> bytes | None:
    if name in table:
        return _string(table, name, where).encode()
    encoded = f"{name}_base64"
    if encoded not in table:
        return None
    try:
        return base64.b64decode(_string(table, encoded, where), validate=True)
    except binascii.Error:
        raise StubError(f"{where}.{encoded}: expected base64") from None
