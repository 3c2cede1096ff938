"""What a predict call accepts: anything that can say its body and read its answer."""

from __future__ import annotations

from typing import Any, Protocol, cast

from eas_tw.body.text import StringRequest
from eas_tw.errors import BodyError


class Request(Protocol):
    """The official SDK's two methods, so its request classes are requests here too."""

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
        return StringRequest(memoryview(data))  # type: ignore[arg-type]  # that is the question
    except (TypeError, BufferError) as error:
        raise BodyError(
            f"a request is str, bytes, a buffer, or an object with to_string() and parse_response(bytes); "
            f"got {type(data).__name__}"
        ) from error
