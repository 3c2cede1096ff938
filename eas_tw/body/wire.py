"""The protobuf wire format, as much as tensors need of it: tags and lengths to write, fields to scan.

It exists because a tensor is one long field: packed floats are the tensor's own memory behind a tag and a length, so
they can go from the caller's buffer to the wire, and from a response to an array, without an object per element.
It knows no message. Rules: https://protobuf.dev/programming-guides/encoding/.
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
    """A non-negative integer, seven bits a byte, lowest first."""
    if value <= 0x7F:  # noqa: PLR2004 - one byte: most of them
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - the seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def head(field: int, size: int) -> bytes:
    """What comes before `size` bytes of a string, a submessage or a packed field: its tag and length."""
    return varint(field << 3 | DELIMITED) + varint(size)


def delimited(field: int, payload: bytes) -> bytes:
    """A whole string, submessage or packed field."""
    return head(field, len(payload)) + payload


def int32(value: int) -> bytes:
    """An int32, an int64 or an enum: negative ones take ten bytes."""
    return varint(value % 2**64)


def utf8(text: Any, what: str) -> bytes:
    """Text as protobuf has it.

    Raises:
        BodyError: It is not text, or text UTF-8 cannot carry.
    """
    try:
        return text.encode()  # type: ignore[no-any-return]
    except (AttributeError, UnicodeEncodeError) as error:
        raise BodyError(f"{what} must be text that UTF-8 can carry, got {shown(text)}") from error


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read one varint.

    Args:
        data: The whole body.
        at: Where the varint starts.
        end: Where the message it is part of ends.

    Returns:
        Its value as an unsigned integer of 64 bits, and where the next thing starts.

    Raises:
        BodyError: The message ends inside it, or it is longer than 64 bits.
    """
    if at < end and data[at] < 0x80:  # noqa: PLR2004 - one byte: most of them
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
    """Walk the fields of one message; groups, which no EAS body has, are checked and passed over.

    Args:
        data: The whole body.
        at: Where the message starts.
        end: Where it ends.

    Yields:
        `(field, wire type, start, stop)` where `data[start:stop]` is the value: a varint's bytes, 4 or 8 fixed bytes,
        or what follows a length.

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
    if tag < 0x80:  # noqa: PLR2004 - one byte: every tag of a tensor
        after = at + 1
    else:
        tag, after = read_varint(data, at, end)
    if not 8 <= tag <= _MAX_TAG:  # noqa: PLR2004 - field numbers start at 1
        raise BodyError(f"not protobuf: tag {tag} at byte {at}")
    return tag, after


def _extent(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Where the value behind a tag starts and stops."""
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
    """Pass over a group and the groups in it; returns where it ends."""
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
