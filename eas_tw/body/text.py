"""Requests and responses of text or plain bytes, for most custom processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.body.content import memory_of, refuse_masked
from eas_tw.body.equality import EqualByContent, EqualByFixedBody
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class StringRequest(EqualByFixedBody):
    """A body that is sent unchanged.

    Args:
        data: Text, which is sent as UTF-8; or bytes; or any buffer, whose memory is copied now in row-major order.

    Raises:
        BodyError: `data` is of another type, or text that UTF-8 cannot encode (a lone surrogate).
    """

    __slots__ = ("_body",)

    def __init__(self, data: str | Buffer = b"") -> None:
        self._body = data if type(data) is bytes else _as_bytes(data)

    def __repr__(self) -> str:
        return f"StringRequest({len(self._body)} bytes)"

    def to_string(self) -> bytes:
        """Return the body."""
        return self._body

    def parse_response(self, content: Buffer) -> StringResponse:
        """Wrap the response to this request; any bytes are valid."""
        return StringResponse(content)


class StringResponse(EqualByContent):
    """A response of bytes, decoded as text on demand.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.
    """

    __slots__ = ("content",)

    def __init__(self, content: Buffer) -> None:
        self.content = bytes(content)

    def __str__(self) -> str:
        return self.to_string()

    def __repr__(self) -> str:
        return f"StringResponse({len(self.content)} bytes)"

    def to_string(self) -> str:
        """Return the response as UTF-8 text.

        Raises:
            BodyError: The response is not UTF-8. Invalid bytes are not replaced, because the result would look like a
                prediction; `content` has the bytes.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise BodyError(
                f"the response is not UTF-8 text: byte {error.object[error.start]:#04x} at {error.start} "
                f"of {len(self.content)}; use .content for its bytes"
            ) from error


def _as_bytes(data: str | Buffer) -> bytes:
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError as error:
            raise BodyError(f"the text of a StringRequest cannot be sent as UTF-8: {error}") from error
    if isinstance(data, bytes):
        return data
    refuse_masked(data, "StringRequest")
    try:
        return memory_of(data)
    except (TypeError, ValueError, BufferError) as error:
        raise BodyError(
            f"StringRequest takes str, bytes or a buffer, got {type(data).__name__}; "
            "serialise it first, for example with json.dumps"
        ) from error
