"""The service of worlds with streams: the responses of instances to requests for a stream.

The body of a response is a function of the call, the instance and a serial number. A checker can therefore compute the
body that an instance has sent and compare it with a reader's bytes, without a stored copy.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from attrs import frozen

from simulator.later import Later
from simulator.processors.requests import RequestProcessor
from simulator.streaming import StreamResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.messages import ReceivedRequest
    from simulator.processors.requests import ProcessorRequest

FORMS = ("chunked", "length", "events", "gzip", "tiny", "empty")
"""The forms of a body: in chunks, with a Content-Length, as server-sent events, compressed, in chunks of one byte
without a pause, or no body (204)."""
MAX_BYTES = 400_000
TINY_CHUNKS = 10_000
_STARTS, _STEP = 4096, 7919
_NO_CONTENT = 204
_MARK = b"|stream:"
_QUERY = "call="
_GZIP = 16 + zlib.MAX_WBITS
# Consecutive numbers, so that no two parts of the text are equal.
_NUMBERS = b"".join(b"%x " % number for number in range((MAX_BYTES + _STARTS) // 5))


@frozen
class StreamSpec:
    """The body that a request specifies for its response.

    Attributes:
        form: One of `FORMS`.
        size_bytes: Size of the body before compression, without the prefix that names call, instance and serial number.
        piece_bytes: Size of a piece.
        pause_ms: Pause before each piece, in milliseconds.
        head_ms: Pause between the head and the first piece, in milliseconds.
    """

    form: str = "chunked"
    size_bytes: int = 100
    piece_bytes: int = 100
    pause_ms: int = 0
    head_ms: int = 0

    def __str__(self) -> str:
        return f"{self.form}.{self.size_bytes}.{self.piece_bytes}.{self.pause_ms}.{self.head_ms}"

    @classmethod
    def parse(cls, text: str) -> StreamSpec:
        """Parse the text that `str` returns."""
        form, *numbers = text.split(".")
        return cls(form, *map(int, numbers))

    def body_of(self, call: str) -> str:
        """Return the body of a request for this stream."""
        return f"{call}{_MARK.decode()}{self}"

    def query_of(self, call: str) -> str:
        """Return the query of a request for this stream; used by requests without a body."""
        return f"{_QUERY}{call}&spec={self}"


def call_of(request: ReceivedRequest) -> str:
    """Return the name of the call that a request belongs to."""
    return name_of(request.body, request.query)


def name_of(body: bytes, query: str) -> str:
    """Return the name of the call whose request has this body and this query."""
    if not body and query.startswith(_QUERY):
        return query[len(_QUERY) :].partition("&")[0]
    return body[: body.find(b"|")].decode("ascii", "replace")


def content(call: str, instance: str, serial: int, spec: StreamSpec) -> bytes:
    """Return the whole body of a response, before compression and framing."""
    if spec.form == "empty":
        return b""
    start = serial * _STEP % _STARTS
    size = TINY_CHUNKS if spec.form == "tiny" else spec.size_bytes
    return f"{call}@{instance}#{serial} ".encode() + _NUMBERS[start : start + size]


class StreamService(RequestProcessor):
    """Responds to requests for a stream, and passes other requests on.

    Args:
        other: Returns the response to requests that are not for a stream.
        on_begin: Called with the call, the instance's id and the serial number of each stream.
    """

    def __init__(self, other: Callable[[bytes], Any], on_begin: Callable[[str, str, int], None]) -> None:
        self._other = other
        self._on_begin = on_begin
        self._serial = 0

    def answer(self, request: ProcessorRequest) -> Any:
        """Return the response (`RequestProcessor`)."""
        body, query = request.body, request.query
        if not body and query.startswith(_QUERY):
            spec = query.rpartition("=")[2]
        elif _MARK in body[:60]:
            spec = body.partition(_MARK)[2].decode()
        else:
            return self._other(body)
        self._serial += 1
        call = name_of(body, query)
        self._on_begin(call, request.instance, self._serial)
        return response(call, request.instance, self._serial, StreamSpec.parse(spec))


def response(call: str, instance: str, serial: int, spec: StreamSpec) -> StreamResponse:
    """Build the response to a request for a stream."""
    if spec.form == "empty":
        return StreamResponse(iter(()), status=_NO_CONTENT)
    whole = content(call, instance, serial, spec)
    if spec.form == "gzip":
        packer = zlib.compressobj(wbits=_GZIP)
        packed = packer.compress(whole) + packer.flush()
        return StreamResponse(_pieces(packed, spec), headers={"Content-Encoding": "gzip"})
    if spec.form == "length":
        return StreamResponse(_pieces(whole, spec), length=len(whole))
    if spec.form == "events":
        return StreamResponse(_pieces(whole, spec, b"data: %b\n\n"), content_type="text/event-stream")
    return StreamResponse(_pieces(whole, spec))


def _pieces(whole: bytes, spec: StreamSpec, form: bytes = b"%b") -> Iterator[bytes | Later]:
    if spec.head_ms or spec.pause_ms:
        # Because of this empty piece, the head is sent before the first bytes of the body.
        yield b""
    if spec.head_ms:
        yield Later(spec.head_ms / 1000, b"")
    size = 1 if spec.form == "tiny" else spec.piece_bytes
    for at in range(0, len(whole), size):
        piece = form % whole[at : at + size]
        yield Later(spec.pause_ms / 1000, piece) if spec.pause_ms else piece
