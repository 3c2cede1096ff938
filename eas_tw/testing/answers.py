"""Canned answers for a simulated service, and the requests it received, as values for tests."""

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
    """Describe one canned answer.

    Args:
        body: The response's body; text is sent as UTF-8.
        json: A JSON value to send instead of `body`, as `application/json`.
        status: HTTP status, 200 to 599.
        headers: More header fields.
        content_type: `application/octet-stream` when `None`, or `application/json` with `json`.
        delay_s: Seconds before it is sent, ≥ 0.

    Returns:
        The response, as `POST /v1/services/{service}/stubs` takes it.
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
    """Describe which requests an answer is for: those that have all of this.

    Args:
        method: HTTP method; `None` for any.
        path: Path below the service's own, such as `/v1/models`; `None` for any.
        query: Fields the query must have, among others.
        headers: Header fields the request must have, among others.
        body: The whole body.
        contains: Text that the body must contain.
        json: The JSON value the body must be equal to.

    Returns:
        The request pattern, as `POST /v1/services/{service}/stubs` takes it.
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
        method: HTTP method.
        path: Path, below the service's own in a function that answers, else whole; with the query.
        headers: Names in lower case; a token is masked.
        body: The body, as much as was kept.
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
        """The body as text (UTF-8)."""
        return self.body.decode("utf-8")


Handler = "Callable[[Received], dict[str, Any] | bytes | str]"
"""A function that answers requests in the test's process: `answer(...)`, or the body of a 200."""


def as_response(value: Any) -> dict[str, Any]:
    """Return a canned answer for what a test gave: `answer(...)`, bytes or text."""
    if isinstance(value, dict):
        return value
    if isinstance(value, bytes | bytearray | memoryview | str):
        return answer(value if isinstance(value, str) else bytes(value))
    raise TypeError(f"an answer is answer(...), bytes or str, got {type(value).__name__}; JSON is answer(json=...)")
