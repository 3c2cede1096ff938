"""The request argument of a predict call: an object that makes its body and parses its response."""

from __future__ import annotations

from typing import Any, Protocol, cast

from eas_tw.body.content import memory_of, refuse_masked
from eas_tw.body.text import StringRequest
from eas_tw.display import shown
from eas_tw.errors import BodyError


class Request(Protocol):
    """An object that makes the body of a call and parses its response.

    The official SDK's request classes have the same two methods, so they are accepted as well. A request may also have
    an attribute `content_type` (str): the Content-Type with which it is sent, unless the program sets another
    Content-Type (see `docs/requests`).
    """

    def to_string(self) -> bytes:
        """Return the body to send; called once per predict, before anything is sent."""

    def parse_response(self, content: bytes, /) -> Any:
        """Return the result of the call, from the body of a 2xx response."""


def as_request(data: object) -> Request:
    """Convert the argument of predict to a request.

    Args:
        data: A request, which is returned unchanged; or text, bytes or any buffer, which becomes a `StringRequest`.

    Returns:
        An object with `to_string` and `parse_response`.

    Raises:
        BodyError: The argument is none of these.
    """
    if isinstance(data, (str, bytes)):  # `str | bytes` would be evaluated again for each call
        return StringRequest(data)
    if callable(getattr(data, "to_string", None)) and callable(getattr(data, "parse_response", None)):
        return cast("Request", data)
    try:
        memoryview(data).release()  # type: ignore[arg-type]  # this statement checks the type
    except (TypeError, ValueError, BufferError) as error:
        raise BodyError(
            f"a request is str, bytes, a buffer, or an object with to_string() and parse_response(bytes); "
            f"got {type(data).__name__}"
        ) from error
    return StringRequest(data)  # type: ignore[arg-type]  # the check above passed: it is a buffer


def as_body(content: object) -> bytes:
    """Convert the result of `to_string` to bytes.

    Args:
        content: Bytes or any buffer, whose memory is copied in row-major order; text is encoded as UTF-8.

    Raises:
        BodyError: The content is none of these, or cannot be encoded. Nothing has been sent to an instance.
    """
    if isinstance(content, bytes):
        return content
    refuse_masked(content, "to_string()")
    try:
        return content.encode() if isinstance(content, str) else memory_of(content)
    except (TypeError, ValueError, BufferError) as error:
        raise BodyError(
            f"to_string() of a request must return bytes, a buffer or text that UTF-8 can carry, got {shown(content)} "
            f"({type(content).__name__})"
        ) from error
