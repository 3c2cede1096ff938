"""Malformed responses: the ways in which a broken or hostile server can violate HTTP/1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from simulator.delivery import Ending, Wire
from simulator.http1 import Response, render

if TYPE_CHECKING:
    from collections.abc import Callable

_HUGE_BYTES = 2**20
_ENDLESS_HEADERS = 20_000
_INFORMATIONAL = 5


def malform(how: str, response: Response, wire: Wire) -> Wire:
    """Replace a response by a malformed one.

    Args:
        how: One of `fault_kinds.MALFORMED`.
        response: The response without the fault.
        wire: The delivery without the fault.
    """
    good = b"".join(data for _, data in wire.pieces)
    found = WAYS[how](good, response)
    # Additional bytes around a complete response do not change the ending. A broken response is followed by a FIN,
    # because the client cannot detect the end of the response otherwise.
    ending = wire.ending if how in COMPLETE else Ending.CLOSE
    return evolve(wire, pieces=[(0.0, found)], ending=ending)


def _with_header(good: bytes, line: bytes) -> bytes:
    status, _, rest = good.partition(b"\r\n")
    return status + b"\r\n" + line + rest


def _status_line(good: bytes, line: bytes) -> bytes:
    return line + b"\r\n" + good.partition(b"\r\n")[2]


def _without_length(good: bytes, response: Response) -> bytes:
    return good.replace(b"Content-Length: %d\r\n" % len(response.body), b"", 1)


def _bad_chunk(good: bytes, response: Response) -> bytes:
    head, _, body = _without_length(good, response).partition(b"\r\n\r\n")
    return head + b"\r\nTransfer-Encoding: chunked\r\n\r\nnot-a-size\r\n" + body + b"\r\n0\r\n\r\n"


WAYS: dict[str, Callable[[bytes, Response], bytes]] = {
    "not_http": lambda _, __: b"SSH-2.0-OpenSSH_9.6\r\n",
    "bad_status_line": lambda good, _: _status_line(good, b"HTTP/1.1 abc Whatever"),
    "http_2_version": lambda good, _: _status_line(good, b"HTTP/2.0 200 OK"),
    "no_colon": lambda good, _: _with_header(good, b"a header without a colon\r\n"),
    "folded_header": lambda good, _: _with_header(good, b"X-Folded: one\r\n two\r\n"),
    "two_lengths": lambda good, response: _with_header(good, b"Content-Length: %d\r\n" % (len(response.body) + 1)),
    "length_and_chunked": lambda good, _: _with_header(good, b"Transfer-Encoding: chunked\r\n"),
    "bad_chunk_size": _bad_chunk,
    "huge_header": lambda good, _: _with_header(good, b"X-Huge: " + b"x" * _HUGE_BYTES + b"\r\n"),
    "endless_headers": lambda good, _: _with_header(good, b"X-Again: and again\r\n" * _ENDLESS_HEADERS),
    "informational": lambda good, _: b"HTTP/1.1 102 Processing\r\n\r\n" * _INFORMATIONAL + good,
    "switching_protocols": lambda good, _: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + good,
    "unsolicited": lambda good, response: good + render(response._replace(body=b"nobody asked for this"), keep=True),
    "leading_garbage": lambda good, _: b"\x00\x01\x02" + good,
}
COMPLETE = ("informational", "unsolicited")
