"""The part of the protobuf wire format that tensors need: writing tags and lengths, scanning fields.

The elements of a tensor are one long field. Packed floats are the tensor's memory after a tag and a length, so they can
be copied from the caller's buffer to the wire, and viewed as an array in a response, without an object for each
element. The messages and their field numbers are in other modules. The format is described at
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.display import shown
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT = 0
FIXED64 = 1
DELIMITED = 2
_GROUP_START = 3
_GROUP_END = 4
FIXED32 = 5

_MAX_VARINT_BYTES = 10
_MAX_TAG = 2**32 - 1
_MAX_GROUP_DEPTH = 100  # protobuf's own limit on nesting
_ONE_BYTE = [bytes((value,)) for value in range(0x80)]
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


def varint(value: int) -> bytes:
    """Encode a non-negative integer, seven bits in a byte, the lowest first."""
    if value <= 0x7F:  # noqa: PLR2004 - one byte, the usual case
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - the seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def head(field: int, size: int) -> bytes:
    """Return the tag and length in front of a string, submessage or packed field of `size` bytes."""
    return varint(field << 3 | DELIMITED) + varint(size)


def delimited(field: int, payload: bytes) -> bytes:
    """Encode a whole string, submessage or packed field."""
    return head(field, len(payload)) + payload


def int32(value: int) -> bytes:
    """Encode an int32, an int64 or an enum; a negative value takes ten bytes."""
    return varint(value % 2**64)


def utf8(text: Any, what: str) -> bytes:
    """Encode text as UTF-8.

    Raises:
        BodyError: The value is not text, or is text that UTF-8 cannot encode.
    """
    try:
        return text.encode()  # type: ignore[no-any-return]
    except (AttributeError, UnicodeEncodeError) as error:
        raise BodyError(f"{what} must be text that UTF-8 can carry, got {shown(text)}") from error


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read one varint.

    Args:
        data: The whole body.
        at: The index where the varint starts.
        end: The index where the enclosing message ends.

    Returns:
        The value as an unsigned integer of 64 bits, and the index after the varint.

    Raises:
        BodyError: The message ends inside the varint, or the varint is longer than 64 bits.
    """
    if at < end and data[at] < 0x80:  # noqa: PLR2004 - one byte, the usual case
        return data[at], at + 1
    value = shift = 0
    for here in range(at, min(end, at + _MAX_VARINT_BYTES)):
        byte = data[here]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            if value >> 64:
                break
            return value, here + 1
        shift += 7
    else:
        if end - at < _MAX_VARINT_BYTES:
            raise _truncated(end)
    raise BodyError(f"not protobuf: a varint of more than 64 bits at byte {at}")


def scan(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Iterate over the fields of one message. Groups are checked and skipped, because EAS bodies have no groups.

    Args:
        data: The whole body.
        at: The index where the message starts.
        end: The index where the message ends.

    Yields:
        `(field, wire type, start, stop)`, where `data[start:stop]` is the value: the bytes of a varint, 4 or 8 fixed
        bytes, or the bytes after a length.

    Raises:
        BodyError: The bytes are not a protobuf message.
    """
    while at < end:
        tag, at = _read_tag(data, at, end)
        if tag & 7 == _GROUP_START:
            at = _skip_group(data, at, end, tag)
            continue
        start, stop = _extent(data, at, end, tag)
        yield tag >> 3, tag & 7, start, stop
        at = stop


def _read_tag(data: bytes, at: int, end: int) -> tuple[int, int]:
    tag = data[at]
    if tag < 0x80:  # noqa: PLR2004 - one byte, as for every tag of a tensor
        after = at + 1
    else:
        tag, after = read_varint(data, at, end)
    if not 8 <= tag <= _MAX_TAG:  # noqa: PLR2004 - field numbers start at 1
        raise BodyError(f"not protobuf: tag {tag} at byte {at}")
    return tag, after


def _extent(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Return the start and stop indexes of the value after a tag."""
    wire = tag & 7
    start = at
    if wire == DELIMITED:
        size, start = read_varint(data, at, end)
        stop = start + size
    elif wire == VARINT:
        stop = read_varint(data, at, end)[1]
    elif wire in _FIXED_SIZES:
        stop = at + _FIXED_SIZES[wire]
    else:
        raise BodyError(f"not protobuf: wire type {wire} before byte {at}")
    if stop > end:
        raise _truncated(end)
    return start, stop


def _skip_group(data: bytes, at: int, end: int, tag: int) -> int:
    """Skip a group and the groups in it; return the index of its end."""
    open_fields = [tag >> 3]
    while open_fields:
        if at >= end:
            raise _truncated(end)
        tag, at = _read_tag(data, at, end)
        if tag & 7 == _GROUP_START and len(open_fields) < _MAX_GROUP_DEPTH:
            open_fields.append(tag >> 3)
        elif tag & 7 == _GROUP_END:
            if open_fields.pop() != tag >> 3:
                raise BodyError(f"not protobuf: a group ends that did not start, before byte {at}")
        else:
            at = _extent(data, at, end, tag)[1]
    return at


def _truncated(end: int) -> BodyError:
    return BodyError(f"not protobuf, or cut short: a field goes on past byte {end}")
