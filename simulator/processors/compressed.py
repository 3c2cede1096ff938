"""Decompression of requests before a processor, as with `rpc.decompressor`, and compression of its responses.

The module shares no code with the client's compression, so an error in the client's compression makes requests fail.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred

from simulator.later import Later
from simulator.messages import Response
from simulator.streaming import StreamResponse, map_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

COMPRESSIONS = ("gzip", "zlib", "snappy", "lz4", "lz4-block", "zstd")
_CODINGS = {"zlib": "deflate"}
_MOST_OF_LZ4 = 255  # the greatest ratio that an LZ4 block can reach


@frozen
class Compressed:
    """A processor with decompression of its requests, compression of its responses, or both.

    Attributes:
        inner: The processor.
        decompress: Name of the compression of requests; empty for none.
        compress: Name of the compression of responses, which is sent as Content-Encoding; empty for none.
    """

    inner: Any
    decompress: str = ""
    compress: str = ""

    def read(self, body: bytes) -> bytes:
        """Decompress a request.

        Raises:
            ValueError: The body cannot be decompressed; the response is a 400.
        """
        if not self.decompress:
            return body
        try:
            return _readers(self.decompress)(body)
        except Exception as error:
            raise ValueError(f"the body is not {self.decompress}: {error}") from error

    def write(self, answer: Any) -> Any:
        """Compress a result."""
        if not self.compress:
            return answer
        response = answer if isinstance(answer, Response) else Response(200, _bytes(answer))
        body = _writers(self.compress)(response.body)
        return response._replace(body=body, headers={**response.headers, **self._headers})

    def write_stream(self, stream: StreamResponse) -> StreamResponse:
        """Compress a streamed response, so that each piece can be decompressed as soon as it has arrived.

        Raises:
            ValueError: The compression cannot be flushed between pieces; the response is a 400.
        """
        if not self.compress:
            return stream
        compressor = _compressor(self.compress)

        def change(piece: Any) -> Any:
            if isinstance(piece, Deferred):
                return piece.addCallback(change)
            if isinstance(piece, Later):
                return Later(piece.seconds, change(piece.value))
            data = _bytes(piece)
            return compressor.piece(data) if data else b""

        body = map_pieces(stream.body, change, compressor.end)
        return evolve(stream, body=body, headers={**stream.headers, **self._headers})

    @property
    def _headers(self) -> dict[str, str]:
        return {"Content-Encoding": _CODINGS.get(self.compress, self.compress)}


class _Deflate:
    """gzip or zlib, flushed after each piece."""

    def __init__(self, wbits: int) -> None:
        self._compressor = zlib.compressobj(wbits=wbits)

    def piece(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._compressor.flush()


class _Zstd:
    """zstd with a frame for each piece; a zstd stream may have several frames (RFC 8878 §3.1)."""

    def piece(self, data: bytes) -> bytes:
        return _writers("zstd")(data)

    def end(self) -> bytes:
        return b""


def _compressor(name: str) -> _Deflate | _Zstd:
    if name == "zstd":
        return _Zstd()
    if name not in ("gzip", "zlib"):
        raise ValueError(f"a stream cannot be compressed with {name}; gzip, zlib and zstd can")
    return _Deflate(31 if name == "gzip" else zlib.MAX_WBITS)


def _bytes(answer: Any) -> bytes:
    return answer.encode() if isinstance(answer, str) else bytes(answer)


def split(name: str) -> tuple[str, str, str]:
    """Split a processor's name into the compression of requests, the name itself, and the compression of responses."""
    first, _, rest = name.partition("+")
    before, name = (first, rest) if rest and first in COMPRESSIONS else ("", name)
    rest, _, last = name.rpartition("+")
    after, name = (last, rest) if rest and last in COMPRESSIONS else ("", name)
    return before, name, after


def check(compression: str) -> None:
    """Check that a compression is available.

    Raises:
        ImportError: The compression needs cramjam, which is not installed.
    """
    if compression:
        _readers(compression)


def _readers(name: str) -> Callable[[bytes], bytes]:
    if name in {"gzip", "zlib"}:
        return gzip.decompress if name == "gzip" else zlib.decompress
    import cramjam  # noqa: PLC0415 - the extra `compression`

    def block(body: bytes) -> bytes:
        room = bytearray(_MOST_OF_LZ4 * len(body) + 1)
        return bytes(room[: cramjam.lz4.decompress_block_into(body, room)])

    read: dict[str, Any] = {
        "lz4": cramjam.lz4.decompress,
        "lz4-block": block,
        "snappy": cramjam.snappy.decompress_raw,
        "zstd": cramjam.zstd.decompress,
    }
    return lambda body: bytes(read[name](body))


def _writers(name: str) -> Callable[[bytes], bytes]:
    if name in {"gzip", "zlib"}:
        return gzip.compress if name == "gzip" else zlib.compress
    import cramjam  # noqa: PLC0415 - the extra `compression`

    write: dict[str, Any] = {
        "lz4": cramjam.lz4.compress,
        "lz4-block": lambda body: cramjam.lz4.compress_block(body, store_size=False),
        "snappy": cramjam.snappy.compress_raw,
        "zstd": cramjam.zstd.compress,
    }
    return lambda body: bytes(write[name](body))
