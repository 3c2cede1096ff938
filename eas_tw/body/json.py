"""JSON requests and responses; arrays become nested lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eas_tw.body.equality import EqualByContent, EqualByFixedBody
from eas_tw.body.outputs import wrong_kind
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class JsonRequest(EqualByFixedBody):
    """A value sent as JSON: UTF-8, without spaces, with the Content-Type `application/json`.

    Args:
        data: Dictionaries, lists, text, numbers, bools, `None`; arrays (anything with `tolist()`) become nested lists.

    Raises:
        BodyError: The value has no JSON form: an object of another kind, a cycle, NaN or infinity (RFC 8259 §6).
    """

    __slots__ = ("_body",)
    content_type = "application/json"

    def __init__(self, data: Any) -> None:
        try:
            text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_as_list)
            self._body = text.encode()
        except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
            raise BodyError(f"a JsonRequest cannot be written: {error}") from error

    def __repr__(self) -> str:
        return f"JsonRequest({len(self._body)} bytes)"

    def to_string(self) -> bytes:
        """Return the body."""
        return self._body

    def parse_response(self, content: Buffer) -> JsonResponse:
        """Parse the response to this request.

        Raises:
            BodyError: The bytes are not JSON.
        """
        return JsonResponse(content)


class JsonResponse(EqualByContent):
    """A response that is JSON.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes, including a byte order mark.
        data: The parsed value: dictionaries, lists, text, numbers, bools, `None`.

    Raises:
        BodyError: The body is not JSON.
    """

    __slots__ = ("content", "data")

    def __init__(self, content: Buffer) -> None:
        self.content = bytes(content)
        try:
            # RFC 8259 §8.1 allows a parser to ignore a byte order mark, which .NET and some Java libraries write.
            self.data: Any = json.loads(str(self))
        except (ValueError, RecursionError) as error:
            raise wrong_kind("JSON", self.content, BodyError(str(error))) from error

    def __str__(self) -> str:
        return self.content.decode("utf-8-sig")

    def __repr__(self) -> str:
        return f"JsonResponse({len(self.content)} bytes)"

    def __getitem__(self, key: Any) -> Any:
        return self.data[key]

    def to_string(self) -> str:
        """Return the response as text, without a byte order mark."""
        return str(self)


def _as_list(value: Any) -> Any:
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON; convert it first")
