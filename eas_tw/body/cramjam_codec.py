"""Compression and decompression with lz4, snappy and zstd in steps, with cramjam (extra `compression`).

cramjam decompresses a whole body in one call, into memory of a given size, and releases the GIL meanwhile. The first
size is a small estimate. For lz4 and zstd, the size is increased only after the memory has been filled, so a truncated
or damaged body needs memory only for its output. For an LZ4 block the size is increased after every error, up to the
maximum size that the block can expand to. The header of a snappy body contains the size of the output. Large memory is
mapped, so the system allocates its pages only when they are written.
"""

from __future__ import annotations

import mmap
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from eas_tw.body.steps import FIRST_BYTES, STEP_BYTES, UnreadableError, pieces, too_large
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.body.steps import Steps

_ZSTD_LEVEL = 3  # zstd's own default
_GROWTH = 4
"""Factor by which the memory grows. All attempts together take a third more time than the last attempt alone."""
_MOST_AT_ONCE = 1 << 16
"""Maximum input of the first step, in bytes. Frames without output take time as well (zstd: 9 bytes each)."""
_MOST_OF_A_BLOCK = 255
_MOST_OF_SNAPPY = 22
"""Maximum output for each byte of input: an LZ4 length byte adds 255 bytes; a snappy copy of 64 bytes takes 3 bytes."""
_MARK = bytes.fromhex("9f1c6ae5d0437bb8b4e92a5d61f3870c")
"""Bytes that are written at the end of the memory before decompression; if they are overwritten, the memory is full."""


class CramjamCodec(NamedTuple):
    """The functions of one compression format.

    Attributes:
        compress: A function that compresses bytes to a buffer.
        read: A function that decompresses bytes into memory, and returns the number of bytes written; it raises
            `error`.
        size_for: A function of the body and the limit. It returns the first size of the memory in bytes, and the
            maximum to which the body can expand, or raises `UnreadableError`.
        fills: Whether `read` fills the memory completely before it raises `error`, if the memory is too small.
        error: The exception that `read` raises.
    """

    compress: Callable[[bytes], Any]
    read: Callable[[bytes, Any], int]
    size_for: Callable[[bytes, int], tuple[int, int]]
    fills: bool
    error: type[Exception]


@cache
def codec(name: str) -> CramjamCodec:
    """Return the codec of a name in `COMPRESSIONS`.

    Raises:
        BodyError: The codec needs cramjam, which is not installed.
    """
    try:
        import cramjam  # noqa: PLC0415 - optional
    except ImportError as error:
        raise BodyError(f"{name} needs cramjam; install it with: pip install 'eas-tw[compression]'") from error
    lz4, snappy, zstd = cramjam.lz4, cramjam.snappy, cramjam.zstd

    def size_of_snappy(data: bytes, limit: int) -> tuple[int, int]:
        """Return the size from the header of a snappy body."""
        try:
            size = snappy.decompress_raw_len(data)
        except cramjam.DecompressionError as error:
            raise UnreadableError(str(error)) from error
        if size > limit:
            raise too_large(limit)
        if size > _MOST_OF_SNAPPY * len(data):
            raise UnreadableError(f"its header states {size} bytes, more than its {len(data)} bytes can expand to")
        return size, size

    broken = cramjam.DecompressionError
    return {
        "lz4": CramjamCodec(lz4.compress, lz4.decompress_into, _size_of_stream, True, broken),
        "lz4-block": CramjamCodec(
            lambda data: lz4.compress_block(data, store_size=False),
            lz4.decompress_block_into,
            _size_of_block,
            False,
            broken,
        ),
        "snappy": CramjamCodec(snappy.compress_raw, snappy.decompress_raw_into, size_of_snappy, False, broken),
        "zstd": CramjamCodec(
            lambda data: zstd.compress(data, _ZSTD_LEVEL), zstd.decompress_into, _size_of_stream, True, broken
        ),
    }[name]


def _size_of_stream(data: bytes, limit: int) -> tuple[int, int]:
    return min(limit, max(FIRST_BYTES, 2 * len(data))), limit


def _size_of_block(data: bytes, limit: int) -> tuple[int, int]:
    most = min(limit, _MOST_OF_A_BLOCK * len(data))
    return min(most, max(FIRST_BYTES, 2 * len(data))), most


def reading(codec: CramjamCodec, data: bytes, limit: int) -> Steps[bytes]:
    """Decompress in steps.

    Args:
        codec: The format.
        data: The whole body, not empty.
        limit: The greatest size of the result in bytes.

    Raises:
        UnreadableError: The data is not in that format, is truncated, or is larger than the limit.
    """
    size, most = codec.size_for(data, limit)
    if len(data) > _MOST_AT_ONCE or size > FIRST_BYTES:
        yield
    while True:
        memory = _memory(size)
        memory[-len(_MARK) :] = mark = _MARK[:size]
        try:
            count = codec.read(data, memory)
        except codec.error as error:
            is_full = memory[-len(_MARK) :] != mark
            if size == most or (codec.fills and not is_full):
                raise too_large(limit) if is_full and size == limit else UnreadableError(str(error)) from error
        else:
            parts = pieces(memoryview(memory)[:count])
            del memory  # freed now, because `join` allocates the same amount again
            return b"".join(parts)
        yield
        size = min(_GROWTH * size, most)


def writing(codec: CramjamCodec, data: bytes) -> Steps[bytes]:
    """Compress in steps; the result is deterministic."""
    if len(data) > FIRST_BYTES:
        yield
    return b"".join(pieces(memoryview(codec.compress(data))))


def _memory(size: int) -> bytearray | mmap.mmap:
    """Allocate memory of a size in bytes; large memory is mapped, so the system zeroes a page only when it is used."""
    if size <= STEP_BYTES:
        return bytearray(size)
    try:
        return mmap.mmap(-1, size)
    except OSError as error:
        raise UnreadableError(f"there is no memory for {size} bytes of it") from error
