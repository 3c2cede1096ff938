"""Headers and bodies of requests and responses, stored for the journal's rows of services that enable capturing.

Capturing is disabled by default, because the contents may be secret and large. The memory for all captures together
is bounded; the oldest captures are dropped first.
"""

from __future__ import annotations

import base64
import codecs
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.masking import TokenMask

MAX_TOTAL_BYTES = 64 * 2**20
MAX_BODY_BYTES = 16 * 2**20
_OVERHEAD_BYTES = 512


@frozen
class Message:
    """The headers and body of a request or a response.

    Attributes:
        headers: Header fields, with names in lower case.
        body: The stored beginning of the body.
        body_bytes: Size of the whole body, in bytes.
    """

    headers: Mapping[str, str]
    body: bytes
    body_bytes: int

    @property
    def size(self) -> int:
        """Approximate size in memory, in bytes."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.headers.items()) + _OVERHEAD_BYTES

    def to_json(self, mask: TokenMask) -> dict[str, Any]:
        """Return a JSON value, with the body as text if it is UTF-8, otherwise in base64.

        If the stored body ends within a character, the text ends with the last whole character.

        Args:
            mask: Masks tokens in headers and body, also a token of which the stored body has only the beginning.
        """
        shown: dict[str, Any] = {"headers": mask.value(dict(self.headers)), "body_bytes": self.body_bytes}
        is_cut = len(self.body) < self.body_bytes
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            shown["body"] = mask(decoder.decode(self.body, final=not is_cut), is_cut=is_cut)
        except UnicodeDecodeError:
            shown["body_base64"] = base64.b64encode(mask.in_bytes(self.body, is_cut=is_cut)).decode()
        return shown


@frozen
class Capture:
    """A request and its response; `response` is `None` if none was sent."""

    request: Message
    response: Message | None

    @property
    def size(self) -> int:
        """Approximate size in memory, in bytes."""
        return self.request.size + (self.response.size if self.response else 0)


class Captures:
    """The captures, by the number of their row in the journal."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Capture] = OrderedDict()
        self._bytes = 0

    def get(self, number: int) -> Capture | None:
        """Return the capture of a row; `None` if the row had no capture, or the capture has been dropped."""
        return self._kept.get(number)

    def keep(self, number: int, capture: Capture) -> None:
        """Store a capture, and drop the oldest ones beyond `MAX_TOTAL_BYTES`."""
        self._kept[number] = capture
        self._bytes += capture.size
        while self._bytes > MAX_TOTAL_BYTES and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.size

    def clear(self) -> None:
        """Drop all captures."""
        self._kept.clear()
        self._bytes = 0
