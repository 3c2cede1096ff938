"""Decompression of a body while it arrives: results, memory and work do not depend on how the body is divided."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest

from eas_tw import BodyError, body_decompressor
from eas_tw.body.piecewise import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


FORMATS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
}


def decompressed(coding: str, pieces: Iterable[bytes]) -> bytes:
    decompressor = body_decompressor(coding)
    assert decompressor is not None
    parts = [part for piece in pieces for part in decompressor.feed(piece)]
    assert all(0 < len(part) <= PART_BYTES for part in parts)
    return b"".join([*parts, *decompressor.finish()])


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, *range(PART_BYTES, PART_BYTES + 600, 7), 2 * PART_BYTES + 30])
@pytest.mark.parametrize("name", FORMATS)
def test_output_that_ends_after_a_full_part_is_not_lost(name: str, size: int) -> None:
    """At the end of raw deflate, zlib has read all input, and still has up to 258 bytes of output."""
    coding, compress = FORMATS[name]
    body = compress(bytes(size))
    for step in (1, 7, len(body)):
        assert decompressed(coding, (body[at : at + step] for at in range(0, len(body), step))) == bytes(size)


@pytest.mark.parametrize("name", FORMATS)
def test_a_body_that_is_cut_anywhere_is_an_error(name: str) -> None:
    coding, compress = FORMATS[name]
    body = compress(b"hello world" * 9)
    for end in range(1, len(body)):
        with pytest.raises(BodyError, match="cut short"):
            decompressed(coding, (body[:end],))


def test_gzip_members_may_be_padded_with_zeros_and_divided_anywhere() -> None:
    body = gzip.compress(b"a") + bytes(3) + gzip.compress(b"") + gzip.compress(b"b") + bytes(2)
    for cut in range(len(body)):
        assert decompressed("gzip", (body[:cut], body[cut:])) == b"ab"


@pytest.mark.parametrize("name", FORMATS)
def test_endless_bytes_after_the_end_use_no_memory(name: str) -> None:
    """The decompressor stores the bytes after the end of a stream, and copied all of them with each piece."""
    coding, compress = FORMATS[name]
    decompressor = body_decompressor(coding)
    assert decompressor is not None
    zeros = bytes(1 << 16)
    assert b"".join(decompressor.feed(compress(b"x"))) == b"x"
    tracemalloc.start()
    try:
        for _ in range(64):
            assert not list(decompressor.feed(zeros))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 18
    assert not list(decompressor.finish())


def test_zlib_never_gets_much_more_than_one_gzip_member() -> None:
    """The decompressor copies the input after each member: 6,000 empty members in one piece took 90 ms."""
    decompressor = body_decompressor("gzip")
    assert decompressor is not None
    members = gzip.compress(b"") * 6000
    tracemalloc.start()
    try:
        assert not list(decompressor.feed(members))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 16
    assert not list(decompressor.finish())


def test_a_few_bytes_of_zstd_are_expanded_in_parts_of_bounded_size() -> None:
    """The parser of lines or events runs without a pause over one part: 8 MiB of empty lines took 2 s."""
    zstandard = pytest.importorskip("zstandard")
    assert decompressed("zstd", [zstandard.compress(bytes(1 << 24))]) == bytes(1 << 24)
