"""Canned responses and request patterns for a simulated service, and the requests that it received."""

from __future__ import annotations

import base64
import json as json_module
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_ABSENT: Any = object()


def answer(
    body: bytes | str = b"",
    *,
    json: Any = _ABSENT,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str | None = None,
    delay_s: float = 0.0,
) -> dict[str, Any]:
    """Describe one canned response.

    Args:
        body: The response's body; text is sent as UTF-8.
        json: A JSON value to send instead of `body`, as `application/json`.
        status: The HTTP status, 200 to 599.
        headers: Additional header fields; `None` for none.
        content_type: The content type; `None` for `application/json` with `json`, and `application/octet-stream`
            otherwise.
        delay_s: The delay before the response is sent, in seconds, ≥ 0.

    Returns:
        The response in the format of `POST /v1/services/{service}/stubs`.

    Raises:
        TypeError: Both `body` and `json` were given.
    """
    made: dict[str, Any] = {"status": status, "headers": dict(headers or {}), "delay_s": delay_s}
    if json is not _ABSENT:
        if body:
            raise TypeError("give body or json, not both")
        made["json"] = json
    elif isinstance(body, str):
        made["body"] = body
    else:
        made["body_base64"] = base64.b64encode(bytes(body)).decode()
    return made | ({} if content_type is None else {"content_type": content_type})


def matching(
    *,
    method: str | None = None,
    path: str | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | str | None = None,
    contains: str | None = None,
    json: Any = _ABSENT,
) -> dict[str, Any]:
    """Describe the requests that get a canned response; a request must match all arguments.

    Args:
        method: The HTTP method; `None` for any.
        path: The path relative to the service's path, such as `/v1/models`; `None` for any.
        query: The query fields that the request must have; it may have more. `None` for any.
        headers: The header fields that the request must have; it may have more. `None` for any.
        body: The complete body; `None` for any.
        contains: A text that the body must contain; `None` for any.
        json: The JSON value that the body must be equal to; without this argument, any body matches.

    Returns:
        The request pattern in the format of `POST /v1/services/{service}/stubs`.
    """
    made: dict[str, Any] = {"method": method, "path": path, "contains": contains}
    made |= {"query": dict(query) if query else None, "headers": dict(headers) if headers else None}
    if isinstance(body, str):
        made["body"] = body
    elif body is not None:
        made["body_base64"] = base64.b64encode(bytes(body)).decode()
    if json is not _ABSENT:
        made["json"] = json
    return {name: value for name, value in made.items() if value is not None or name == "json"}


@dataclass(frozen=True)
class Received:
    """A request that a simulated service received.

    Attributes:
        method: The HTTP method.
        path: The path with the query. For a function that answers requests, the path is relative to the service's
            path; in the journal it is the complete path.
        headers: The header fields, names in lower case; a token is masked.
        body: The first `capture_bytes` bytes of the body.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json_module.loads(self.body)

    @property
    def text(self) -> str:
        """The body, decoded as UTF-8."""
        return self.body.decode("utf-8")


Handler = "Callable[[Received], dict[str, Any] | bytes | str]"
"""The type of a function that answers requests in the test's process; bytes or text are the body of a response 200."""


def as_response(value: Any) -> dict[str, Any]:
    """Convert `answer(...)`, bytes or text to a canned response.

    Raises:
        TypeError: `value` is of another type.
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, bytes | bytearray | memoryview | str):
        return answer(value if isinstance(value, str) else bytes(value))
    raise TypeError(f"an answer is answer(...), bytes or str, got {type(value).__name__}; JSON is answer(json=...)")
