"""Arrays of varints compared with protobuf, with every combination of neighbouring sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw import BodyError
from eas_tw.body import schema, varints
from eas_tw.body.wire import delimited, varint

SETTINGS = settings(derandomize=True, deadline=None, max_examples=200)
ArrayProto = schema.message("eas_tw.tf.ArrayProto")

#: Numbers with every count of bits equally likely. A plain integer strategy draws long numbers very rarely.
numbers = st.integers(0, 63).flatmap(lambda bits: st.integers(2**bits // 2, 2**bits - 1)) | st.integers(-(2**63), -1)


@SETTINGS
@given(st.lists(numbers, max_size=60))
def test_protobuf_reads_the_numbers(values: list[int]) -> None:
    payload = varints.pack(np.array(values, np.int64))
    assert list(ArrayProto.FromString(delimited(7, payload)).int64_val) == values


@SETTINGS
@given(st.lists(numbers, max_size=60))
def test_what_protobuf_wrote_is_read(values: list[int]) -> None:
    """Each payload ends at the end of a varint, so that `unpack` accepts it."""
    payload = b"".join(varint(value % 2**64) for value in values)
    assert ArrayProto(int64_val=values).SerializeToString() == (delimited(7, payload) if values else b"")
    assert varints.unpack(memoryview(payload)).view(np.int64).tolist() == values


def test_numbers_at_block_boundaries_are_packed_correctly() -> None:
    """The payloads have three blocks and a remainder. At each block boundary, short numbers are next to long ones."""
    rng = np.random.default_rng(7)
    values = rng.integers(-(2**63), 2**63, 3 * varints._BLOCK + 5) >> rng.integers(0, 63, 3 * varints._BLOCK + 5)
    payload = varints.pack(values)
    assert list(ArrayProto.FromString(delimited(7, payload)).int64_val) == values.tolist()
    assert (varints.unpack(memoryview(payload)).view(np.int64) == values).all()


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "<u2", ">u2", ">i4", "<u4", ">i8", "?"])
def test_every_integer_type_and_byte_order(dtype: str) -> None:
    ends: list[Any] = [0, 1] if dtype == "?" else [np.iinfo(dtype).min, -1, 0, 1, 127, np.iinfo(dtype).max]
    values = np.array([end for end in ends if np.dtype(dtype).kind == "i" or end >= 0], dtype)
    assert list(ArrayProto.FromString(delimited(7, varints.pack(values))).int64_val) == values.astype("i8").tolist()


@pytest.mark.parametrize(
    "payload", [b"\x80", b"\x01\x80", b"\xff" * 10 + b"\x01", b"\xff" * 9 + b"\x02", b"\x80" * 300]
)
def test_a_broken_payload_is_refused(payload: bytes) -> None:
    """The payloads end within a varint, or have a varint of more than 64 bits."""
    with pytest.raises(BodyError):
        varints.unpack(memoryview(payload))


def test_every_number_of_one_and_two_bytes() -> None:
    short = np.arange(1 << 14)
    expected = b"".join(map(varint, short.tolist()))
    for kind in (np.int64, np.int32, np.uint16, np.dtype(">i4")):
        assert varints.pack(short.astype(kind)) == expected
    assert varints.pack(np.append(short, 1 << 14)) == expected + varint(1 << 14)
    pixels = np.arange(256, dtype=np.uint8)
    assert varints.pack(pixels) == b"".join(map(varint, range(256)))


def test_every_power_of_two_and_its_neighbours() -> None:
    values = [2**bits + offset for bits in range(63) for offset in (-1, 0, 1)] + [2**63 - 1, -1, -(2**63)]
    assert varints.pack(np.array(values, np.int64)) == b"".join(varint(value % 2**64) for value in values)
    unsigned = [2**63, 2**64 - 1, 2**63 + 1]
    assert varints.pack(np.array(unsigned, np.uint64)) == b"".join(map(varint, unsigned))
