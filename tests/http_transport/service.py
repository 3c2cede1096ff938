"""The service of the tests, which returns the received request or, for some paths, a special response."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

from simulator.processors import Later, ProcessorRequest, Response, StreamResponse

TEXT = b"compressed " * 1000
LARGE = 1600 * 65_536


def answer(request: ProcessorRequest) -> Any:
    """Choose the response by the first part of the path."""
    what, _, rest = request.path.strip("/").partition("/")
    if what == "status":
        return Response(int(rest), b"" if rest in ("204", "304") else b"body of " + rest.encode(), "text/plain")
    return _ANSWERS.get(what, shown)(request)


def shown(request: ProcessorRequest) -> Response:
    """Return the received request as JSON."""
    found = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": dict(request.headers),
        "body": request.body.decode("latin-1"),
        "instance": request.instance,
    }
    return Response(200, json.dumps(found).encode(), "application/json")


def compressed_pieces(_: ProcessorRequest) -> StreamResponse:
    """Return a compressed text as a stream of seven-byte chunks."""
    packed = gzip.compress(TEXT)
    pieces = (packed[at : at + 7] for at in range(0, len(packed), 7))
    return StreamResponse(pieces, 200, "text/plain", _GZIP)


_GZIP = {"Content-Encoding": "gzip"}
_ANSWERS: dict[str, Callable[[ProcessorRequest], Any]] = {
    "gzip": lambda _: Response(200, gzip.compress(TEXT), "text/plain", _GZIP),
    "gzip-error": lambda _: Response(418, gzip.compress(TEXT), "text/plain", _GZIP),
    "gzip-pieces": compressed_pieces,
    "chat": lambda _: StreamResponse(iter([b"data: {}\n\n", b"data: [DONE]\n\n", Later(0.02, b"")])),
    "stalls": lambda _: StreamResponse(iter([b"first", Later(3600, b"never")])),
    "never": lambda _: Later(3600, b""),
    "large": lambda _: StreamResponse(b"x" * 65_536 for _ in range(LARGE // 65_536)),
}
