"""Decompression of a body while it arrives: gzip, zlib, raw deflate, zstd.

Each piece is decompressed in parts of bounded size, so that a few bytes that expand to gigabytes are expanded only as
fast as the parts are consumed.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Protocol

from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

PART_BYTES = 1 << 16
"""Maximum size in bytes of a part of the output."""
_MOST_FED = 1 << 12
"""Maximum input in bytes that zlib gets at a time, because zlib copies the input that follows a short gzip member."""
_MAX_WINDOW_BYTES = 8 << 20
"""Maximum zstd window, in bytes: the maximum in HTTP (RFC 9659); decoders should support it (RFC 8878 §3.1.1.1.2)."""


class Decompressor(Protocol):
    """Decompresses a body piece by piece."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Decompress a piece, in parts."""

    def finish(self) -> Iterator[bytes]:
        """Return the remaining output at the end of the body; raises `BodyError` if the body is truncated."""


def body_decompressor(coding: str) -> Decompressor | None:
    """Return the decompressor of a Content-Encoding; `None` for a body that is not compressed.

    Raises:
        BodyError: The coding is not supported in streams, or it needs the extra `compression`.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return None
    if name in ("gzip", "x-gzip"):
        return _Inflating(16 + zlib.MAX_WBITS)
    if name in ("deflate", "zlib"):
        return _Inflating(None)
    if name == "zstd":
        return _Zstd()
    raise BodyError(f"a stream with the content coding {coding!r} cannot be decompressed while it arrives")


class _Inflating:
    """Decompresses gzip, zlib and raw deflate; a gzip body may have several members (RFC 1952 §2.2).

    Zeros after a gzip member, and all bytes after the end of zlib and raw deflate, are ignored.

    Args:
        window_bits: As for `zlib.decompressobj`; `None` to detect zlib or raw deflate from the first two bytes.
    """

    def __init__(self, window_bits: int | None) -> None:
        self._bits = window_bits
        self._stream: Any = None  # the decompressor of a member that is not complete
        self._held = b""
        self._has_ended = False  # whether a member is complete

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Decompress a piece, in parts."""
        for at in range(0, len(piece), _MOST_FED):
            yield from self._inflate(self._held + piece[at : at + _MOST_FED])

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        self._held = b""
        is_full = False
        while data or is_full:
            if self._stream is None:
                data = self._begin_member(data)
                if self._stream is None:
                    return
            try:
                part = self._stream.decompress(data, PART_BYTES)
            except zlib.error as error:
                raise BodyError(f"the stream cannot be decompressed: {error}") from error
            if part:
                yield part
            # After a full part, zlib may have more output although it has read all input.
            data, is_full = self._stream.unconsumed_tail, len(part) == PART_BYTES
            if self._stream.eof:
                data, is_full = self._stream.unused_data, False
                # zlib would store all further bytes, so the decompressor is not used after its end.
                self._stream, self._has_ended = None, True

    def _begin_member(self, data: bytes) -> bytes:
        """Create the decompressor of the next member, if `data` has its beginning; return the data of the member."""
        if self._bits is not None:
            data = data.lstrip(b"\0") if self._has_ended else data
            self._stream = zlib.decompressobj(self._bits) if data else None
        elif len(data) < _HEADER_BYTES and not self._has_ended:
            self._held = data
        elif not self._has_ended:
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if _is_zlib(data) else -zlib.MAX_WBITS)
        return data

    def finish(self) -> Iterator[bytes]:
        """Raise an error unless the body is complete."""
        if self._held or self._stream is not None:
            raise BodyError("the stream cannot be decompressed: it is cut short")
        return iter(())


_HEADER_BYTES = 2
_DEFLATE_METHOD, _METHOD_MASK, _HEADER_MODULUS = 8, 0x0F, 31


def _is_zlib(data: bytes) -> bool:
    """Return whether `deflate` data is in zlib's format (RFC 9110 §8.4.1.2); some servers send a raw stream."""
    return data[0] & _METHOD_MASK == _DEFLATE_METHOD and int.from_bytes(data[:2], "big") % _HEADER_MODULUS == 0


class _Zstd:
    """Decompresses zstd with `zstandard`, because cramjam (see `cramjam_codec`) reads only whole frames."""

    _MOST_AT_ONCE = 256
    """Maximum input in bytes at a time: a block of 4 bytes may expand to 128 KiB, so the output has at most 8 MiB."""

    def __init__(self) -> None:
        try:
            import zstandard  # noqa: PLC0415  optional
        except ImportError as error:
            raise BodyError(
                "a zstd stream needs zstandard; install it with: pip install 'eas-tw[compression]'"
            ) from error
        self._error = zstandard.ZstdError
        self._new = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj
        self._stream: Any = None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Decompress a piece, in parts; a body may have several frames (RFC 8878 §3.1)."""
        at = 0
        while at < len(piece):
            if self._stream is None:
                self._stream = self._new()
            data = piece[at : at + self._MOST_AT_ONCE]
            at += len(data)
            try:
                output = self._stream.decompress(data)
            except self._error as error:
                raise BodyError(f"the stream cannot be decompressed: {error}") from error
            for start in range(0, len(output), PART_BYTES):
                yield output[start : start + PART_BYTES]
            if self._stream.eof:
                at -= len(self._stream.unused_data)
                self._stream = None

    def finish(self) -> Iterator[bytes]:
        """Raise an error unless the last frame is complete."""
        if self._stream is not None:
            raise BodyError("the stream cannot be decompressed: it is cut short")
        return iter(())
