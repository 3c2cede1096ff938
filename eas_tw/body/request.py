"""What a predict call accepts: anything that can say its body and read its answer."""

from __future__ import annotations

from typing import Any, Protocol, cast

from eas_tw.body.content import memory_of, refuse_masked
from eas_tw.body.text import StringRequest
from eas_tw.display import shown
from eas_tw.errors import BodyError


class Request(Protocol):
    """The official SDK's two methods, so its request classes are requests here too.

    A request may have an attribute `content_type`, a string, as well: the Content-Type that it is sent with unless the
    program says another one (see `docs/requests`).
    """

    def to_string(self) -> bytes:
        """The body to send; called once for each predict, before anything is sent."""

    def parse_response(self, content: bytes, /) -> Any:
        """The answer, made from the body of a 200 response."""


def as_request(data: object) -> Request:
    """Make a request of what was given to predict.

    Args:
        data: A request (passed through), or text, bytes or any buffer (a `StringRequest` of it).

    Returns:
        An object with `to_string` and `parse_response`.

    Raises:
        BodyError: It is none of these.
    """
    if isinstance(data, (str, bytes)):  # `str | bytes` would be built anew for each call
        return StringRequest(data)
    if callable(getattr(data, "to_string", None)) and callable(getattr(data, "parse_response", None)):
        return cast("Request", data)
    try:
        memoryview(data).release()  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError, BufferError) as error:
        raise BodyError(
            f"a request is str, bytes, a buffer, or an object with to_string() and parse_response(bytes); "
            f"got {type(data).__name__}"
        ) from error
    return StringRequest(data)  # type: ignore[arg-type]  # it is a buffer


def as_body(content: object) -> bytes:
    """The bytes of what `to_string` returned.

    Args:
        content: Bytes or any buffer, whose memory is copied in row-major order; text is sent as UTF-8.

    Raises:
        BodyError: It is none of these, or cannot be sent. No instance has seen it.
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
