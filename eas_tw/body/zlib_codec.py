"""Compression and decompression of gzip, zlib and raw deflate in steps, with the standard library's zlib.

The time is linear in the sizes of input and output for any data. A simple loop would take longer: a gzip file may
have any number of members (RFC 1952 §2.2), and the loop would copy all remaining input for each member.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from eas_tw.body.steps import FIRST_BYTES, STEP_BYTES, UnreadableError, too_large

if TYPE_CHECKING:
    from eas_tw.body.steps import Steps

GZIP, ZLIB, RAW = 31, 15, -15
"""Values of `wbits`, which select the format in zlib."""

_LEVEL = 1  # low, because the call waits: level 6 takes three times as long, and its result is only 10 % smaller
_LEAST_FED, _MOST_FED = 1 << 10, 1 << 16
_INPUT_COST = 4
"""Cost of one byte of input, in bytes of output; input is counted because blocks without output take time as well."""
_MEMBER_COST = 1 << 12
"""Additional cost of a member, in bytes of output: making a decompressor takes as long as some kilobytes of output."""
_DEFLATE_METHOD, _METHOD_MASK, _HEADER_MODULUS = 8, 0x0F, 31


def format_of_deflate(data: bytes) -> int:
    """Distinguish the two formats that servers send as Content-Encoding `deflate`.

    RFC 9110 §8.4.1.2 requires zlib's format, but some servers send the raw stream. zlib's two header bytes are a
    multiple of 31 and contain method 8. A raw stream with these bytes would begin with a stored block with nonzero
    padding, which compressors do not write.

    Returns:
        `ZLIB` or `RAW`.
    """
    header = int.from_bytes(data[:2], "big")
    is_zlib = data[0] & _METHOD_MASK == _DEFLATE_METHOD and header % _HEADER_MODULUS == 0
    return ZLIB if is_zlib else RAW


def inflating(data: bytes, window_bits: int, limit: int) -> Steps[bytes]:
    """Decompress in steps.

    Args:
        data: The whole body, not empty.
        window_bits: `GZIP`, `ZLIB` or `RAW`.
        limit: The maximum size of the result in bytes.

    Raises:
        UnreadableError: The data is not in that format, is truncated, is followed by other data, or the result is
            larger than the limit.
    """
    inflater = _Inflater(data, window_bits, limit)
    while True:
        yield from inflater.member()
        if window_bits != RAW:
            yield from inflater.padding()
        if inflater.at == len(data):
            return b"".join(inflater.parts)
        if window_bits == RAW:
            raise UnreadableError(f"{len(data) - inflater.at} bytes follow its end")


class _Inflater:
    """State of the decompression of a body, member by member.

    Attributes:
        parts: The output so far.
        at: The number of bytes of the body that have been read.
    """

    def __init__(self, data: bytes, window_bits: int, limit: int) -> None:
        self.parts: list[bytes] = []
        self.at = 0
        self._data = data
        self._view = memoryview(data)
        self._window_bits = window_bits
        self._limit = self._room = limit
        self._budget = FIRST_BYTES

    def member(self) -> Steps[None]:
        """Decompress one member."""
        stream = zlib.decompressobj(self._window_bits)
        self._budget -= _MEMBER_COST
        fed, tail = _LEAST_FED, self._view[:0]
        while not stream.eof:
            if self._budget <= 0:
                yield
                self._budget = STEP_BYTES
            if not tail:
                # The first chunks are small, because zlib copies the input that follows a short member.
                tail = self._read(fed)
                fed = min(2 * fed, _MOST_FED)
            part = self._produce(stream, tail)
            if not part and not tail and not stream.eof:
                raise UnreadableError("it is cut short")
            tail = memoryview(stream.unconsumed_tail)
        self.at -= len(stream.unused_data)

    def padding(self) -> Steps[None]:
        """Skip zeros after a member: some programs pad gzip files with zeros."""
        while self._data[self.at : self.at + 1] == b"\0":
            if self._budget <= 0:
                yield
                self._budget = STEP_BYTES
            rest = bytes(self._read(_LEAST_FED)).lstrip(b"\0")
            self.at -= len(rest)

    def _read(self, most: int) -> memoryview:
        chunk = self._view[self.at : self.at + most]
        self.at += len(chunk)
        self._budget -= _INPUT_COST * len(chunk)
        return chunk

    def _produce(self, stream: Any, data: memoryview) -> bytes:
        try:
            part: bytes = stream.decompress(data, min(self._room + 1, max(self._budget, _LEAST_FED)))
        except zlib.error as error:
            raise UnreadableError(str(error)) from error
        self.parts.append(part)
        self._room -= len(part)
        self._budget -= len(part)
        if self._room < 0:
            raise too_large(self._limit)
        return part


def deflating(data: bytes, window_bits: int) -> Steps[bytes]:
    """Compress in steps; the result is deterministic.

    Args:
        data: The whole body.
        window_bits: `GZIP` or `ZLIB`.
    """
    stream = zlib.compressobj(_LEVEL, wbits=window_bits)
    if len(data) > FIRST_BYTES:
        yield
    view, parts = memoryview(data), []
    for at in range(0, len(data), STEP_BYTES):
        if at:
            yield
        parts.append(stream.compress(view[at : at + STEP_BYTES]))
    return b"".join([*parts, stream.flush()])
