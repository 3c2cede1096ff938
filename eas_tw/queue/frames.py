"""Parsing of the queue service's responses: frames, results of puts and searches, attributes.

A response is protobuf or JSON, depending on its Content-Type. The service answers with JSON if a request has no Accept
header.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from eas_tw.body.schema import message, parse
from eas_tw.display import shown
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOBUF = "application/vnd.google.protobuf"
REQUEST_ID = "requestId"
"""The name of the tag that contains the request id of the put that created the frame."""
LAST_ENTRY = "stream.lastEntry"
"""The attribute with the index of the newest frame; 0 for an empty queue."""
_FRAME, _FRAMES = "eas_tw.queue.DataFrameProto", "eas_tw.queue.DataFrameListProto"
_ATTRIBUTES = "eas_tw.queue.AttributesProto"
MAX_INDEX = 2**64 - 1
_NUMBER = re.compile(rb"(?P<prefix>0[xXoObB])?[0-9a-fA-F]{1,64}")
_WRONG_JSON = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""Exceptions that parsing raises for JSON with another structure, infinite numbers, or too many levels of nesting."""
# Load protobuf on import: loading it with the first frame would block the event loop for a tenth of a second.
_frame_class = message(_FRAME)
_parse_frame = _frame_class.FromString


@frozen
class Frame:
    """One entry of a queue.

    Attributes:
        index: The index in the queue, which identifies the frame in commits, rejects and deletes; ≥ 0.
        tags: The tags, by name.
        data: The bytes that were put; empty if only indexes were requested.
        message: A message of the service, usually empty.
    """

    index: int
    tags: dict[str, str] = field(factory=dict, hash=False)
    data: bytes = field(default=b"", repr=lambda data: f"<{len(data)} bytes>")
    message: str = ""

    @property
    def request_id(self) -> str:
        """The request id of the put; empty if the frame has none."""
        return self.tags.get(REQUEST_ID, "")

    @property
    def raw_data(self) -> Any:
        """The frame as a protobuf message, for compatibility with the official Python SDK."""
        return _frame_class(index=self.index, tags=self.tags, data=self.data, message=self.message)

    def __str__(self) -> str:
        return str(self.raw_data)


@frozen
class PutResult:
    """The result of a put.

    Attributes:
        index: The index of the new frame.
        request_id: The id under which the result appears in the output queue; empty if the service sent none.
    """

    index: int
    request_id: str


@frozen
class SearchResult(Mapping[str, Any]):
    """The position of a frame in its queue.

    As in the official SDKs, the result is also a mapping with the service's names, `IsPending` and `WaitCount`.

    Attributes:
        is_pending: Whether the frame is being processed now.
        wait_count: The number of frames before this frame; 0 if it is being processed.
    """

    is_pending: bool
    wait_count: int

    def __iter__(self) -> Iterator[str]:
        return iter(("IsPending", "WaitCount"))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, name: str) -> Any:
        return {"IsPending": self.is_pending, "WaitCount": self.wait_count}[name]


def frame_of(data: bytes) -> Frame:
    """Parse a `DataFrameProto`.

    Raises:
        BodyError: The bytes are not a `DataFrameProto`.
    """
    try:
        return _from_proto(_parse_frame(data))
    except Exception as error:  # DecodeError; the pure Python parser may raise any exception
        raise BodyError(f"a frame of the queue cannot be parsed: {error or type(error).__name__}") from error


def frames_of(content_type: str, body: bytes) -> list[Frame]:
    """Parse the response to a get; an empty body is an empty list.

    Raises:
        BodyError: The body is neither a `DataFrameListProto` nor its JSON form.
    """
    if not body:
        return []
    if not _is_json(content_type):
        return [_from_proto(one) for one in _parsed(_FRAMES, body, "the list of frames").index]
    try:
        return [_from_json(row) for row in json.loads(body)]
    except _WRONG_JSON as error:
        raise BodyError(f"the list of frames is not the queue's JSON: {error}") from error


def attributes_of(content_type: str, body: bytes) -> dict[str, str]:
    """Parse the attributes of a queue.

    Raises:
        BodyError: The body is neither an `AttributesProto` nor a JSON object.
    """
    if content_type.startswith(PROTOBUF):
        return dict(_parsed(_ATTRIBUTES, body, "the attributes of the queue").attributes)
    try:
        return {str(name): _text(value) for name, value in json.loads(body).items()}
    except _WRONG_JSON as error:
        raise BodyError(
            f"the attributes of the queue are not a JSON object: {error}; is the service a queue service?"
        ) from error


def search_result_of(body: bytes) -> SearchResult:
    """Parse the response to a search.

    Raises:
        BodyError: The body is not the JSON object of a search.
    """
    try:
        found = json.loads(body)
        return SearchResult(bool(found["IsPending"]), int(found["WaitCount"]))
    except _WRONG_JSON as error:
        raise BodyError(f"the result of the search is not the queue's JSON: {shown(body)}") from error


def number_of(body: bytes, what: str) -> int:
    """Parse an unsigned number of 64 bits, in ASCII decimal or with a prefix such as `0x`, like the official Go SDK.

    Raises:
        BodyError: The body is not an unsigned number of 64 bits.
    """
    match = _NUMBER.fullmatch(body.strip())
    number = -1 if match is None else int(match[0], 0 if match["prefix"] else 10)
    if not 0 <= number <= MAX_INDEX:
        raise BodyError(f"{what} must be a number, the service answered {shown(body)}")
    return number


def _parsed(name: str, data: bytes, what: str) -> Any:
    try:
        return parse(name, data)
    except ValueError as error:
        raise BodyError(f"{what} cannot be parsed: {error}") from error


def _from_proto(proto: Any) -> Frame:
    tags = proto.tags
    # `dict(tags)` would call methods of the mapping in Python, which take three times as long.
    return Frame(proto.index, {name: tags[name] for name in tags}, proto.data, proto.message)


def _from_json(row: Any) -> Frame:
    index = row["index"]
    if type(index) is not int or not 0 <= index <= MAX_INDEX:
        raise ValueError(f"the index must be a number from 0 to 2⁶⁴ - 1, got {shown(index)}")
    tags = {str(name): str(value) for name, value in (row.get("tags") or {}).items()}
    return Frame(index, tags, b64decode(row.get("data") or "", validate=True), str(row.get("message") or ""))


def _is_json(content_type: str) -> bool:
    return content_type.startswith("application/json")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
