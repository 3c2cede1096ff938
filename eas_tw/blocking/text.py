"""`StringRequest` and `StringResponse` with the attribute `response_data` of the official SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import eas_tw

if TYPE_CHECKING:
    from typing_extensions import Buffer


class StringResponse(eas_tw.StringResponse):
    """A response of text or bytes.

    `str` returns the text; in the official SDK it returns the `repr` of the bytes.
    """

    __slots__ = ()

    @property
    def response_data(self) -> bytes:
        """The response's bytes, under the attribute name of the official SDK."""
        return self.content


class StringRequest(eas_tw.StringRequest):
    """A request whose body is a text or bytes."""

    __slots__ = ()

    def parse_response(self, content: Buffer) -> StringResponse:
        """Wrap the response's body in a `StringResponse`; any bytes are valid."""
        return StringResponse(content)
