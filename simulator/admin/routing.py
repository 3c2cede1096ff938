"""A table of operations, the way from a request to one of them, and what they share: JSON and its errors.

The table is plain data, so that the API's description can be made from the same rows that route.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from twisted.internet.defer import Deferred

from simulator.http1 import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.http1 import Answer, Request

MAX_BODY_BYTES = 2**20
_WRITES = ("POST", "PUT", "PATCH")


class Problem(Exception):
    """An answer that is an error: `application/problem+json`."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@frozen
class Operation:
    """One row of the table.

    Attributes:
        method: HTTP method.
        path: Below the API's root, with `{name}` for parts that vary.
        run: Takes the `Asked`, answers a JSON value, a `Response`, `None` for 204, or a Deferred of one.
        says: One line for people.
        status: Of a good answer.
    """

    method: str
    path: str
    run: Callable[[Asked], Any]
    says: str
    status: int = 200
    pattern: re.Pattern[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))


@frozen
class Asked:
    """What an operation is given.

    Attributes:
        names: The parts of the path that vary.
        query: Fields of the query; of a repeated one the last.
        body: The JSON value of the body; `None` when there is none.
    """

    names: dict[str, str]
    query: dict[str, str]
    body: Any


def route(
    operations: Sequence[Operation], request: Request, path: str, query: dict[str, str]
) -> Answer | Deferred[Answer]:
    """Run the operation a request asks for; whatever is wrong is a problem document."""
    try:
        operation, names = _find(operations, request.method, path)
        result = operation.run(Asked(names, query, _body(request)))
    except Problem as problem:
        return problem_response(problem.status, problem.detail)
    if isinstance(result, Deferred):
        return result.addCallbacks(_render, _failed, callbackArgs=(operation.status,))
    return _render(result, operation.status)


def problem_response(status: int, detail: str) -> Response:
    """A problem document (RFC 9457)."""
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(status, json.dumps(document).encode(), "application/problem+json")


def _find(operations: Sequence[Operation], method: str, path: str) -> tuple[Operation, dict[str, str]]:
    allowed = []
    for operation in operations:
        match = operation.pattern.fullmatch(path)
        if match and operation.method == method:
            return operation, match.groupdict()
        if match:
            allowed.append(operation.method)
    if allowed:
        raise Problem(405, f"{method} is not allowed on {path}; {', '.join(allowed)} is")
    raise Problem(404, f"nothing at {path}")


def _body(request: Request) -> Any:
    if request.method not in _WRITES:
        return None
    if len(request.body) > MAX_BODY_BYTES:
        raise Problem(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Problem(415, "writes need Content-Type: application/json")
    if not request.body:
        return None
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None


def _render(result: Any, status: int) -> Response:
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(204, b"", "")
    return Response(status, json.dumps(result).encode(), "application/json")


def _failed(failure: Any) -> Response:
    failure.trap(Problem)
    return problem_response(failure.value.status, failure.value.detail)
