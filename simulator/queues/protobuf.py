"""The protobuf encoding of frames and attributes.

The encoder is written by hand, because the bytes must be the same in every process. The protobuf package serialises the
entries of a map in the order of a hash table, which differs between processes; this module keeps the given order. Tests
decode the result with the compiled messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from simulator.queues.frames import Frame

_VARINT, _BYTES = 0, 2
"""Wire types (protobuf encoding guide, section "Message structure")."""


def frame_bytes(frame: Frame, *, index_only: bool = False) -> bytes:
    """Encode a `DataFrameProto`; with `index_only` without its data."""
    encoded = _key(1, _VARINT) + _varint(frame.index) + _map(2, frame.tags)
    return encoded if index_only or not frame.data else encoded + _field(3, frame.data)


def frame_list_bytes(frames: Iterable[Frame]) -> bytes:
    """Encode a `DataFrameListProto`."""
    return b"".join(_field(1, frame_bytes(frame)) for frame in frames)


def attributes_bytes(attributes: Mapping[str, str]) -> bytes:
    """Encode an `AttributesProto`."""
    return _map(1, attributes)


def _map(number: int, entries: Mapping[str, str]) -> bytes:
    return b"".join(
        _field(number, _field(1, name.encode()) + _field(2, value.encode())) for name, value in entries.items()
    )


def _field(number: int, value: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(value)) + value


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004  seven bits a byte, the last without the high bit
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
