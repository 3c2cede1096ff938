"""Compression of bodies: the codecs of a service's `rpc.decompressor`, and of a response's Content-Encoding.

The work is done in steps (see `steps`). Decompression has a limit on its output, because a few kilobytes can expand to
gigabytes. Data that cannot be decompressed raises an error; it is never passed on compressed. An LZ4 block (without a
frame) has no header, end mark or checksum, so other data may be decompressed as an LZ4 block without an error; invalid
data in the other formats is detected.

gzip and zlib are in the standard library. The other codecs need cramjam (extra `compression`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.body import cramjam_codec, zlib_codec
from eas_tw.body.steps import UnreadableError, finish
from eas_tw.config import COMPRESSIONS
from eas_tw.display import shown
from eas_tw.errors import BodyError, ConfigError

if TYPE_CHECKING:
    from eas_tw.body.steps import Steps

_ZLIB_FORMATS = {"gzip": zlib_codec.GZIP, "zlib": zlib_codec.ZLIB}
#: Codecs by content coding (RFC 9110 §8.4.1, and unregistered codings in use). HTTP calls zlib's format deflate.
_CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", **{codec: codec for codec in COMPRESSIONS}}
_MOST_CODINGS = 5
"""The maximum number of codings of one body, the same as in curl.

Each coding may produce output up to the limit, and some data decompresses to itself, so the work needs a bound.
"""


def compress(codec: str, data: bytes) -> bytes:
    """Compress a whole body; the result is deterministic.

    Args:
        codec: One of `COMPRESSIONS`.
        data: The body.

    Raises:
        BodyError: There is no such codec, or it needs cramjam, which is not installed.
    """
    return finish(compressing(codec, data))


def compressing(codec: str, data: bytes) -> Steps[bytes]:
    """Compress a whole body in steps; arguments and errors are those of `compress`."""
    if codec in _ZLIB_FORMATS:
        return zlib_codec.deflating(data, _ZLIB_FORMATS[codec])
    return cramjam_codec.writing(_native(codec), data)


def decompress(codec: str, data: bytes, limit: int) -> bytes:
    """Decompress a whole body.

    Args:
        codec: One of `COMPRESSIONS`.
        data: The compressed bytes; the result for an empty body is empty.
        limit: The maximum size of the result in bytes.

    Raises:
        BodyError: The data is not in that format or is truncated, or the result is larger than the limit; or as for
            `compress`.
    """
    return finish(decompressing(codec, data, limit))


def decompressing(codec: str, data: bytes, limit: int) -> Steps[bytes]:
    """Decompress a whole body in steps; arguments and errors are those of `decompress`."""
    if not data:
        return b""
    try:
        if codec == "deflate":
            steps = zlib_codec.inflating(data, zlib_codec.format_of_deflate(data), limit)
        elif codec in _ZLIB_FORMATS:
            steps = zlib_codec.inflating(data, _ZLIB_FORMATS[codec], limit)
        else:
            steps = cramjam_codec.reading(_native(codec), data, limit)
        return (yield from steps)
    except UnreadableError as error:
        raise BodyError(f"a body of {len(data)} bytes cannot be decompressed as {codec}: {error}") from error


def decode(content_encoding: str, data: bytes, limit: int) -> bytes:
    """Undo the codings of a Content-Encoding header, in reverse order.

    Args:
        content_encoding: The header's value, such as `gzip`; with an empty value or `identity` the data is returned
            unchanged.
        data: The compressed bytes; the result for an empty body is empty with any codings.
        limit: The maximum size of the result in bytes.

    Raises:
        BodyError: A coding is unknown, or there are more than five codings; or as for `decompress`.
    """
    return finish(decoding(content_encoding, data, limit))


def decoding(content_encoding: str, data: bytes, limit: int) -> Steps[bytes]:
    """Undo the codings of a Content-Encoding header in steps; arguments and errors are those of `decode`."""
    parts = (part.strip().lower() for part in content_encoding.split(","))
    codings = [part for part in parts if part not in {"", "identity"}]
    if len(codings) > _MOST_CODINGS:
        raise BodyError(f"the response has {len(codings)} content codings; at most {_MOST_CODINGS} are undone")
    for coding in reversed(codings):
        if coding not in _CODINGS:
            known = ", ".join(_CODINGS)
            raise BodyError(f"the response's Content-Encoding {shown(coding)} is none of {known}")
        data = yield from decompressing(_CODINGS[coding], data, limit)
    return data


def check_codec(codec: str) -> None:
    """Check that a codec can be used.

    Raises:
        ConfigError: There is no such codec, or it needs cramjam, which is not installed.
    """
    try:
        compress(codec, b"")
    except BodyError as error:
        raise ConfigError(str(error)) from error


def _native(name: str) -> cramjam_codec.CramjamCodec:
    if name not in COMPRESSIONS:
        raise BodyError(f"there is no compression {shown(name)}; there is {', '.join(COMPRESSIONS)}")
    return cramjam_codec.codec(name)
