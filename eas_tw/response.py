"""`Response`, the result of `PredictClient.request`, and the conversion of its body argument to bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eas_tw.body.equality import EqualByContent
from eas_tw.body.request import as_body
from eas_tw.errors import BodyError, StatusError
from eas_tw.policy.outcomes import SUCCESSES

_JSON = "application/json"

if TYPE_CHECKING:
    from collections.abc import Mapping


class Response(EqualByContent):
    """A complete response.

    Attributes:
        status: The HTTP status.
        headers: The header fields, names in lower case; the values of a repeated field are joined by a comma.
        content: The body, decompressed according to its Content-Encoding.
    """

    __slots__ = ("content", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.status = status
        self.headers = dict(headers)
        self.content = content

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.content)} bytes>"

    @property
    def is_success(self) -> bool:
        """Whether the status is from 200 to 299."""
        return self.status in SUCCESSES

    def text(self) -> str:
        """Return the body as UTF-8 text.

        Raises:
            BodyError: The body is not UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise BodyError(f"the response is not UTF-8 text: {error}; use .content for its bytes") from error

    def json(self) -> Any:
        """Parse the body as JSON.

        Raises:
            BodyError: The body is not JSON.
        """
        try:
            return json.loads(self.content.decode("utf-8-sig"))  # RFC 8259 §8.1 allows a parser to ignore a BOM
        except (ValueError, RecursionError) as error:
            raise BodyError(f"the response is not JSON: {error}; use .content for its bytes") from error

    def raise_for_status(self) -> Response:
        """Return the response if its status is from 200 to 299.

        Raises:
            StatusError: The status is not from 200 to 299.
        """
        if self.is_success:
            return self
        raise StatusError(
            f"the service answered with status {self.status}",
            status=self.status,
            body=self.content,
            headers=self.headers,
        )


def status_of(head: bytes) -> int:
    """Return the status of a response's head."""
    return int(head[9:12])  # "HTTP/1.1 200": the parser has checked the form of the status line


def as_plain(body: Any) -> tuple[bytes, str | None]:
    """Convert the body argument of a call to bytes.

    Args:
        body: A dict or list (sent as JSON), text (sent as UTF-8), bytes, any buffer, or an object with `to_string()`.

    Returns:
        The bytes, and their content type; `None` if `body` does not determine it.

    Raises:
        BodyError: `body` is of another type, or cannot be encoded.
    """
    if isinstance(body, (dict, list)):
        try:
            return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(), _JSON
        except (TypeError, ValueError, RecursionError) as error:
            raise BodyError(f"the body cannot be sent as JSON: {error}") from error
    if callable(getattr(body, "to_string", None)):
        return as_body(body.to_string()), getattr(body, "content_type", None)
    return as_body(body), None
