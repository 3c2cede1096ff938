"""Text requests whose responses have the official SDK's attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import eas_tw

if TYPE_CHECKING:
    from typing_extensions import Buffer


class StringResponse(eas_tw.StringResponse):
    """A response of text or bytes; `str` of it is the text, where the official SDK's is the `repr` of the bytes."""

    __slots__ = ()

    @property
    def response_data(self) -> bytes:
        """The bytes, under the official SDK's name."""
        return self.content


class StringRequest(eas_tw.StringRequest):
    """A body sent as it is."""

    __slots__ = ()

    def parse_response(self, content: Buffer) -> StringResponse:
        """The answer to this request; any bytes are one."""
        return StringResponse(content)
