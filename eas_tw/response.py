"""`Response`: what `PredictClient.request` returns, whatever its status."""

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
    """A whole response.

    Attributes:
        status: The HTTP status.
        headers: Its fields, names in lower case; values of a repeated one joined by a comma.
        content: The body, decompressed if it came with a Content-Encoding.
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
        """The body as UTF-8 text.

        Raises:
            BodyError: It is not UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise BodyError(f"the response is not UTF-8 text: {error}; use .content for its bytes") from error

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            BodyError: It is not JSON.
        """
        try:
            return json.loads(self.content.decode("utf-8-sig"))
        except ValueError as error:
            raise BodyError(f"the response is not JSON: {error}; use .content for its bytes") from error

    def raise_for_status(self) -> Response:
        """Return the response if it is a success.

        Raises:
            StatusError: It is not.
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
    """The status of a response's head."""
    return int(head[9:12])


class PlainRequest:
    """The request of `PredictClient.request`: bytes, and a response of any status.

    Args:
        body: Sent as it is.
        content_type: Of the body; `None` for the client's.
    """

    __slots__ = ("_body", "content_type")

    def __init__(self, body: bytes, content_type: str | None = None) -> None:
        self._body = body
        self.content_type = content_type

    def to_string(self) -> bytes:
        """The body."""
        return self._body

    def parse_response(self, content: bytes) -> Response:
        """The body alone."""
        return Response(200, {}, content)


def as_plain(body: Any) -> tuple[bytes, str | None]:
    """The bytes of a body and its type: dicts and lists are JSON, text is UTF-8; a request says both itself.

    Raises:
        BodyError: It is none of these, and no buffer.
    """
    if isinstance(body, (dict, list)):
        try:
            return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(), _JSON
        except (TypeError, ValueError, RecursionError) as error:
            raise BodyError(f"the body cannot be sent as JSON: {error}") from error
    if callable(getattr(body, "to_string", None)):
        return as_body(body.to_string()), getattr(body, "content_type", None)
    return as_body(body), None
