"""Services with `rpc.decompressor`: requests are decompressed before the processor, or answers compressed after it.

Written apart from the client's compression, so that a mistake cannot cancel itself out.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

from attrs import frozen

from simulator.http1 import Response

if TYPE_CHECKING:
    from collections.abc import Callable

COMPRESSIONS = ("gzip", "zlib", "snappy", "lz4", "lz4-block", "zstd")
_CODINGS = {"zlib": "deflate"}
_MOST_OF_LZ4 = 255  # times smaller is the best a block of LZ4 can do


@frozen
class Compressed:
    """A processor, and what stands between it and its caller.

    Attributes:
        inner: The processor.
        decompress: The name of the requests' compression; empty for none.
        compress: The name of the answers' compression, which a Content-Encoding tells; empty for none.
    """

    inner: Any
    decompress: str = ""
    compress: str = ""

    def read(self, body: bytes) -> bytes:
        """The plain request.

        Raises:
            ValueError: It cannot be decompressed; the caller's 400.
        """
        if not self.decompress:
            return body
        try:
            return _readers(self.decompress)(body)
        except Exception as error:
            raise ValueError(f"the body is not {self.decompress}: {error}") from error

    def write(self, answer: Any) -> Any:
        """The answer to send."""
        if not self.compress:
            return answer
        plain = answer.encode() if isinstance(answer, str) else bytes(answer)
        headers = {"Content-Encoding": _CODINGS.get(self.compress, self.compress)}
        return Response(200, _writers(self.compress)(plain), headers=headers)


def split(name: str) -> tuple[str, str, str]:
    """A processor's name in its parts: compression of requests, the name itself, compression of answers."""
    first, _, rest = name.partition("+")
    before, name = (first, rest) if rest and first in COMPRESSIONS else ("", name)
    rest, _, last = name.rpartition("+")
    after, name = (last, rest) if rest and last in COMPRESSIONS else ("", name)
    return before, name, after


def check(compression: str) -> None:
    """See that a compression can be had.

    Raises:
        ImportError: It needs cramjam.
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
