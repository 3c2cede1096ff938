"""Routing of admin requests: the operation table, the dispatch, and the JSON and error handling that operations share.

The table is plain data, used to route and validate requests and to generate the OpenAPI document.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from attrs import field, frozen
from twisted.internet.defer import Deferred

from simulator.admin import checking
from simulator.http1 import Response, Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from simulator.http1 import Answer, ReceivedRequest

MAX_BODY_BYTES = 2**20
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
_MAX_EXACT = 2**53
_WRITES = ("POST", "PUT", "PATCH")


class Problem(Exception):
    """Raised to answer with a problem document (`application/problem+json`, RFC 9457)."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


@frozen
class Parameter:
    """A query parameter of an operation.

    Attributes:
        name: Name in the URL.
        says: Description, one line.
        schema: Schema of the value: a string, or an integer with bounds.
        default: Value when the parameter is absent.
    """

    name: str
    says: str
    schema: Mapping[str, Any] = field(factory=lambda: {"type": "string"})
    default: Any = None

    def read(self, text: str) -> Any:
        """Convert the text of the query to the parameter's value.

        Raises:
            Problem: The text is not a valid value.
        """
        value: Any = text
        if self.schema["type"] == "integer":
            value = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text
        wrong = checking.problem(self.schema, value, self.name)
        if wrong:
            raise Problem(400, wrong)
        return value


COUNT = {"type": "integer", "minimum": 0, "maximum": _MAX_EXACT}
LIMIT = Parameter("limit", "Maximum number of entries in the response", COUNT, 100)


@frozen
class Operation:
    """One row of the table.

    Attributes:
        method: HTTP method.
        path: Path relative to the API's root, with `{name}` for the parts that vary.
        run: Called with an `Asked`; returns a JSON value, a `Response`, `None` for 204, or a Deferred of one of them.
        says: Description, one line.
        gives: Schema of the body of a successful response; `None` for no body.
        takes: Schema of the request body; `None` for no body.
        query: The query parameters that the operation accepts.
        status: Status of a successful response.
        media: Media type of a successful response.
        problems: Error statuses in addition to those that every operation can return.
        is_checked: Whether the router validates the body against `takes`. If false, `run` validates it.
    """

    method: str
    path: str
    run: Callable[[Asked], Any]
    says: str
    gives: Mapping[str, Any] | None = None
    takes: Mapping[str, Any] | None = None
    query: tuple[Parameter, ...] = ()
    status: int = 200
    media: str = JSON
    problems: tuple[int, ...] = ()
    is_checked: bool = True
    pattern: re.Pattern[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))

    @property
    def names(self) -> list[str]:
        """The names of the varying parts of the path."""
        return re.findall(r"\{(\w+)\}", self.path)


@frozen
class Asked:
    """The input of an operation.

    Attributes:
        names: Values of the varying parts of the path.
        query: Converted query parameters; absent parameters have their defaults.
        body: JSON value of the body; `{}` for an empty body, `None` for a method without a body.
        request: The received request.
    """

    names: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    request: ReceivedRequest


def route(
    operations: Sequence[Operation],
    request: ReceivedRequest,
    path: str,
    query: Sequence[tuple[str, str]],
    mask: Callable[..., str],
) -> Answer | Deferred[Answer]:
    """Run the operation that matches a request, and return its response, or a problem document for an error.

    Args:
        operations: The table.
        request: The received request.
        path: Path relative to the API's root, still encoded: a `/` inside a name is `%2F`.
        query: Decoded query parameters.
        mask: Masks tokens in error texts, which may repeat parts of the request.
    """
    try:
        operation, names = _find(operations, request.method, path)
        asked = Asked(names, _query(operation, query), _body(operation, request), request)
        if request.method == "HEAD" and operation.media == EVENT_STREAM:
            return Response(operation.status, b"", operation.media)
        result = operation.run(asked)
    except Problem as problem:
        return problem_response(problem, mask)
    if isinstance(result, Deferred):
        return result.addCallbacks(_render, _failed, callbackArgs=(operation,), errbackArgs=(mask,))
    return _render(result, operation)


def problem_response(problem: Problem, mask: Callable[..., str]) -> Response:
    """Render a problem document (RFC 9457)."""
    title = HTTPStatus(problem.status).phrase
    document = {
        "type": "about:blank",
        "title": title,
        "status": problem.status,
        "detail": mask(problem.detail, is_cut=True),
    }
    return Response(problem.status, json.dumps(document).encode(), "application/problem+json", problem.headers)


def _find(operations: Sequence[Operation], method: str, path: str) -> tuple[Operation, dict[str, str]]:
    allowed = []
    # A HEAD request gets the response of GET (RFC 9110 §9.3.2); the connection omits the body.
    wanted = "GET" if method == "HEAD" else method
    for operation in operations:
        match = operation.pattern.fullmatch(path)
        if match and operation.method == wanted:
            return operation, {name: unquote(value) for name, value in match.groupdict().items()}
        if match:
            allowed += ["GET", "HEAD"] if operation.method == "GET" else [operation.method]
    if allowed:
        methods = ", ".join(allowed)
        raise Problem(405, f"{method} is not allowed on {path}; {methods} is", {"Allow": methods})
    raise Problem(404, f"nothing at {path}")


def _query(operation: Operation, given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    known = {parameter.name: parameter for parameter in operation.query}
    found = {name: parameter.default for name, parameter in known.items()}
    for name, text in given:
        # Ignoring a misspelt filter would let a test pass that should fail.
        if name not in known:
            raise Problem(400, f"unknown query field {name!r}; known are {', '.join(known) or 'none'}")
        found[name] = known[name].read(text)
    return found


def _body(operation: Operation, request: ReceivedRequest) -> Any:
    if request.method not in _WRITES:
        return None
    if len(request.body) > MAX_BODY_BYTES:
        raise Problem(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != JSON:
        raise Problem(415, "writes need Content-Type: application/json")
    try:
        value = json.loads(request.body, parse_float=_number, parse_constant=_no_constant) if request.body else {}
        if b"\\ud" in request.body.lower():
            # UTF-8 cannot encode an unpaired surrogate, so the value could not be returned in a response (RFC 8259
            # §8.2).
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Problem(400, "the body is not JSON: a string has a surrogate without its pair") from None
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    if operation.takes is not None and operation.is_checked:
        wrong = checking.problem(operation.takes, value)
        if wrong:
            raise Problem(422, wrong)
    return value


def _number(text: str) -> float:
    """Convert a JSON number; 3.0 becomes the integer 3, because JSON has only one type of number."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _MAX_EXACT else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _render(result: Any, operation: Operation) -> Response | Silence:
    if isinstance(result, Response | Silence):
        return result
    if result is None:
        return Response(204, b"", "")
    return Response(operation.status, json.dumps(result).encode(), JSON, {"Cache-Control": "no-store"})


def _failed(failure: Any, mask: Callable[..., str]) -> Response:
    failure.trap(Problem)
    return problem_response(failure.value, mask)
