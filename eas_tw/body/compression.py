"""Bodies made smaller: the codecs of a service's `rpc.decompressor`, and of a response's Content-Encoding.

Functions of their arguments. What is decompressed has a limit, because a few kilobytes can stand for gigabytes; what
cannot be decompressed is an error, never passed on as it came. A bare block of LZ4 has no beginning, no end and no
checksum, so something else may pass for one; the other formats know themselves. gzip and zlib are the standard
library's; the others need cramjam, the extra `compression`.
"""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

from eas_tw.config import COMPRESSIONS
from eas_tw.errors import BodyError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW_BITS = {"gzip": 31, "zlib": 15}  # as zlib.decompressobj says which header it expects
_ZLIB_LEVEL = 1  # a request waits while it is compressed; level 6 takes three times as long for a tenth fewer bytes
_ZSTD_LEVEL = 3  # zstd's own default
_GROWTH = 8
_LEAST_ROOM = 1 << 16
#: Content codings (RFC 9110 §8.4.1, and those of the wild) -> codecs. HTTP calls zlib's format deflate.
_CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "zlib", **{codec: codec for codec in COMPRESSIONS}}


def compress(codec: str, data: bytes) -> bytes:
    """Compress a whole body; the same bytes give the same bytes.

    Args:
        codec: One of `COMPRESSIONS`.
        data: The body.

    Raises:
        BodyError: There is no such codec, or it needs cramjam, which is not installed.
    """
    if codec == "gzip":
        return gzip.compress(data, _ZLIB_LEVEL, mtime=0)
    if codec == "zlib":
        return zlib.compress(data, _ZLIB_LEVEL)
    return bytes(_codec(codec)[0](data))


def decompress(codec: str, data: bytes, limit: int) -> bytes:
    """Decompress a whole body.

    Args:
        codec: One of `COMPRESSIONS`.
        data: The bytes as they came.
        limit: The most bytes the result may have.

    Raises:
        BodyError: The data is not in that format, is cut short, or is larger than the limit; or as for `compress`.
    """
    try:
        if codec in _WINDOW_BITS:
            return _inflate(data, _WINDOW_BITS[codec], limit)
        return _into(_codec(codec)[1], data, limit)
    except _Unreadable as error:
        raise BodyError(f"a body of {len(data)} bytes cannot be decompressed as {codec}: {error}") from error


def decode(content_encoding: str, data: bytes, limit: int) -> bytes:
    """Undo the codings of a Content-Encoding header, the last one first.

    Args:
        content_encoding: Its value, such as `gzip`; empty and `identity` leave the data alone.
        data: The bytes as they came.
        limit: The most bytes the result may have.

    Raises:
        BodyError: A coding is unknown; or as for `decompress`.
    """
    for coding in reversed([part.strip().lower() for part in content_encoding.split(",")]):
        if coding in {"", "identity"}:
            continue
        if coding not in _CODINGS:
            raise BodyError(f"the response's Content-Encoding {coding!r} is none of {', '.join(_CODINGS)}")
        data = decompress(_CODINGS[coding], data, limit)
    return data


def check_codec(codec: str) -> None:
    """See that a codec can be used.

    Raises:
        ConfigError: There is no such codec, or it needs cramjam, which is not installed.
    """
    try:
        compress(codec, b"")
    except BodyError as error:
        raise ConfigError(str(error)) from error


class _Unreadable(Exception):
    """Why data cannot be decompressed; never leaves this module."""


def _inflate(data: bytes, window_bits: int, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    while True:
        stream = zlib.decompressobj(window_bits)
        try:
            part = stream.decompress(data, room + 1)
        except zlib.error as error:
            raise _Unreadable(str(error)) from error
        parts.append(part)
        room -= len(part)
        if room < 0:
            raise _too_large(limit)
        if not stream.eof:
            raise _Unreadable("it is cut short")
        data = stream.unused_data.lstrip(b"\0")  # gzip files are sometimes padded, and may be several in a row
        if not data:
            return b"".join(parts)


def _into(read: Callable[[bytes, bytearray], int], data: bytes, limit: int) -> bytes:
    """Decompress into a buffer of a guessed size, then larger ones: memory never passes the limit."""
    size = min(max(_GROWTH * len(data), _LEAST_ROOM), limit)
    while True:
        buffer = bytearray(size)
        try:
            return bytes(memoryview(buffer)[: read(data, buffer)])
        except _Unreadable:
            if size == limit:
                raise
            size = min(_GROWTH * size, limit)


def _too_large(limit: int) -> _Unreadable:
    return _Unreadable(f"it is larger than {limit} bytes")


Pair = tuple["Callable[[bytes], Any]", "Callable[[bytes, bytearray], int]"]


@cache
def _codec(name: str) -> Pair:
    """Compression, and decompression into a buffer, of a codec that cramjam has."""
    if name not in COMPRESSIONS:
        raise BodyError(f"there is no compression {name!r}; there is {', '.join(COMPRESSIONS)}")
    try:
        import cramjam  # noqa: PLC0415 - optional
    except ImportError as error:
        raise BodyError(f"{name} needs cramjam; install it with: pip install 'eas-tw[compression]'") from error

    def into(read: Callable[[bytes, bytearray], int]) -> Callable[[bytes, bytearray], int]:
        def checked(data: bytes, buffer: bytearray) -> int:
            try:
                return read(data, buffer)
            except cramjam.DecompressionError as error:
                raise _Unreadable(f"{error} (with room for {len(buffer)} bytes)") from error

        return checked

    def read_snappy(data: bytes, buffer: bytearray) -> int:
        """Its size stands in front, so what does not fit is not begun."""
        if cramjam.snappy.decompress_raw_len(data) > len(buffer):
            raise _too_large(len(buffer))
        return cramjam.snappy.decompress_raw_into(data, buffer)

    lz4, zstd = cramjam.lz4, cramjam.zstd
    return {
        "lz4": (lz4.compress, into(lz4.decompress_into)),
        "lz4-block": (lambda data: lz4.compress_block(data, store_size=False), into(lz4.decompress_block_into)),
        "snappy": (cramjam.snappy.compress_raw, into(read_snappy)),
        "zstd": (lambda data: zstd.compress(data, _ZSTD_LEVEL), into(zstd.decompress_into)),
    }[name]
