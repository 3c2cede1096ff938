"""An HTTP/1 connection: accepted and rejected responses, and when it can be reused."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from eas_tw.net import http1
from eas_tw.net.exchange import NoBody
from eas_tw.net.flush import Flusher
from eas_tw.net.heads import text_headers
from eas_tw.net.http1 import ClientConnection
from eas_tw.net.pieces import Pieces, add_piece, joined
from eas_tw.policy.outcomes import AttemptStatus
from tests.net.wire import Wire, Witness

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Peer:
    """A connection with a request in flight, and its transport in memory."""

    def __init__(self, *, head: int = 1000, body: int = 1000, request: bytes = b"") -> None:
        self.witness = Witness()
        self.connection = ClientConnection(self.witness, Flusher(Clock()), max_head_bytes=head, max_body_bytes=body)
        self.wire = Wire(self.connection)
        self.connection.makeConnection(self.wire)
        self.ask(request)
        self.witness.events.clear()

    def ask(self, body: bytes = b"") -> None:
        self.connection.send(b"POST / HTTP/1.1\r\n\r\n", body, self.witness)

    def says(self, *pieces: bytes) -> list[Any]:
        for piece in pieces:
            if self.wire.is_open:
                self.connection.dataReceived(piece)
        return self.witness.events


def test_a_request_is_written_completely_and_immediately() -> None:
    peer = Peer(request=b"body")
    assert peer.wire.take() == b"POST / HTTP/1.1\r\n\r\nbody"
    assert peer.wire.no_delay
    assert peer.connection.is_busy


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("response", "body"),
    [
        (OK, b"hi"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\n yo\r\n0\r\nT: r\r\n\r\n",
            b"hi yo",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"hi"),
        (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
    ],
)
def test_complete_responses_are_accepted_and_the_connection_is_kept(response: bytes, body: bytes, size: int) -> None:
    """Bodies with a length, chunked bodies, and responses after interim ones, in segments of any size."""
    pieces = [response[at : at + size] for at in range(0, len(response), size)]
    assert Peer().says(*pieces) == ["free", (200, body)]


def test_a_connection_is_reused_for_many_exchanges() -> None:
    peer = Peer()
    for _ in range(50):
        assert peer.says(OK) == ["free", (200, b"hi")]
        peer.witness.events.clear()
        peer.ask()
    assert peer.connection.used == 51


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_a_connection_that_cannot_be_reused_is_closed(response: bytes) -> None:
    """The connection is closed after `Connection: close` and for HTTP/1.0. The response is still used."""
    peer = Peer()
    assert peer.says(response) == ["gone", (200, b"hi")]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_body_without_length_ends_when_the_connection_is_closed(version: bytes) -> None:
    peer = Peer()
    peer.says(b"HTTP/" + version + b" 200 OK\r\n\r\nall of it")
    peer.wire.lose()
    assert peer.witness.events == ["gone", (200, b"all of it")]
    peer = Peer()
    peer.says(b"HTTP/" + version + b" 200 OK\r\n\r\nall of")
    peer.wire.lose(ConnectionLost())
    assert peer.witness.events == ["gone", AttemptStatus.RESPONSE_TRUNCATED]


VIOLATIONS = {
    "not http": b"SSH-2.0-OpenSSH\r\n",
    "rtsp": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "http/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "http/0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "blank line first": b"\r\n" + OK,
    "status 000": b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhi",
    "chunked on 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "body too large": b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
    "chunked body too large": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"200\r\n" + b"x" * 0x200 + b"\r\n" + b"200\r\n" + b"x" * 0x200,
    "head too large": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 2000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 600,
    "many interims": b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + OK,
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
}


@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("response", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_violations_abort_the_connection_with_one_outcome(response: bytes, size: int) -> None:
    peer = Peer()
    events = peer.says(*(response[at : at + size] for at in range(0, len(response), size)))
    assert sorted(map(str, events)) == ["gone", "violation"]
    assert peer.wire.aborted


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"e"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: ", b"t"),
        (b"HTTP/1.1 ", b"2"),
    ],
)
def test_endless_lines_are_bounded(start: bytes, endless: bytes) -> None:
    """The parser has no callback within a line, so the connection counts the bytes that it has fed to the parser."""
    peer = Peer()
    events = peer.says(start, *[endless * 100] * 100)
    assert "violation" in map(str, events)


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_the_cost_of_a_head_that_arrives_byte_by_byte_is_linear(before: bytes) -> None:
    head = before + b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500 + b"\r\nContent-Length: 2\r\n\r\n"
    peer = Peer()
    peer.says(*(head[at : at + 1] for at in range(len(before) + 20)))
    buffer = peer.connection._raw
    peer.says(*(head[at : at + 1] for at in range(len(before) + 20, len(head) - 1)))
    assert peer.connection._raw is buffer
    assert peer.says(head[-1:] + b"hi") == ["free", (200, b"hi")]


def test_tiny_chunks_are_joined() -> None:
    """The number of objects is bounded by the size of the body, not by the number of chunks."""
    peer = Peer(body=10**6)
    peer.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n" * 100_000)
    assert len(peer.connection._body) == 2
    assert peer.says(b"0\r\n\r\n") == ["free", (200, b"ab" * 100_000)]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([1, 2, 2047, 2048, 5000]), max_size=40))
def test_pieces_of_any_size_join_to_the_body(sizes: list[int]) -> None:
    whole = random.Random(1).randbytes(sum(sizes))
    pieces: Pieces = []
    at = 0
    for size in sizes:
        add_piece(pieces, whole[at : at + size])
        at += size
    assert joined(pieces) == whole
    assert len(pieces) <= 16


def test_a_second_response_in_the_same_bytes_is_discarded() -> None:
    peer = Peer()
    assert peer.says(OK + OK) == ["gone", (200, b"hi")]
    assert peer.wire.aborted
    peer = Peer()
    assert peer.says(OK + b"garbage") == ["gone", (200, b"hi")]


def test_bytes_on_an_idle_connection_abort_it() -> None:
    peer = Peer()
    peer.says(OK)
    peer.witness.events.clear()
    assert peer.says(OK) == ["gone"]
    assert peer.wire.aborted


def test_bytes_after_a_response_with_connection_close_are_ignored() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    assert (200, b"hi") in Peer().says(closing + b"junk")


def test_the_outcome_of_a_lost_connection_depends_on_its_state() -> None:
    peer = Peer()
    peer.wire.lose()
    assert peer.witness.events == ["gone", AttemptStatus.LOST]
    peer = Peer()
    peer.says(OK)
    peer.ask()
    peer.witness.events.clear()
    peer.wire.lose()
    assert peer.witness.events == ["gone", AttemptStatus.STALE]
    for part in (1, 10, 30, len(OK) - 1):
        peer = Peer()
        peer.says(OK[:part])
        peer.wire.lose()
        assert peer.witness.events == ["gone", AttemptStatus.RESPONSE_TRUNCATED]


def test_an_early_response_is_used_and_closes_the_connection() -> None:
    peer = Peer(request=b"x" * 100_000)
    assert peer.wire.producer is peer.connection
    assert peer.says(OK) == ["gone", (200, b"hi")]


def test_a_connection_is_reused_after_a_large_request_was_written() -> None:
    peer = Peer(request=b"x" * 100_000)
    while peer.wire.producer is not None:
        peer.connection.resumeProducing()
    assert peer.wire.take() == b"POST / HTTP/1.1\r\n\r\n" + b"x" * 100_000
    assert peer.says(OK) == ["free", (200, b"hi")]


def test_an_abandoned_exchange_gets_no_result() -> None:
    peer = Peer()
    peer.connection.abandon()
    assert peer.witness.events == ["gone"]
    assert peer.wire.aborted


def test_header_names_are_lower_case_and_repeats_are_joined() -> None:
    """RFC 9110 §5.3 allows a recipient to join repeated fields with commas."""
    assert text_headers(b"HTTP/1.1 200 OK\r\nA-b: 1\r\na-B:2\r\n") == {"a-b": "1, 2"}


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_any_bytes_end_in_at_most_one_result(pieces: list[bytes], plausible: bool) -> None:  # noqa: FBT001
    """For random bytes, the exchange gets exactly one result by the time the connection is closed."""
    peer = Peer()
    start = [b"HTTP/1.1 200 OK\r\n"] if plausible else []
    peer.says(*start, *(piece for piece in pieces if piece))
    peer.wire.lose()
    results = [event for event in peer.witness.events if event not in ("free", "gone")]
    assert len(results) == 1
    assert peer.witness.events.count("gone") == 1


def reply(body: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields, b"", body])


REPLIES = [
    reply(b"hi"),
    reply(b"yo"),
    reply(b"hey"),
    reply(b"hi", b"Date: Mon"),
    reply(b"yo", b"Date: Tue"),
    reply(b"hi", b"Connection: close"),
    reply(b""),
    reply(b"hi").replace(b"200", b"500"),
    reply(b"hi").replace(b"1.1", b"1.0"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"hi"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    reply(b"hi") + reply(b"yo"),
    reply(b"hi") + b"x",
    b"\r\n" + reply(b"hi")[:-2],
    reply(b"hi")[:-1],
]
"""Responses, some of which have equal heads or are invalid."""


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(st.tuples(st.sampled_from(REPLIES), st.integers(0, 60), st.booleans()), max_size=8))
def test_a_cached_head_does_not_change_results(exchanges: list[tuple[bytes, int, bool]]) -> None:
    """The results equal those without the cache, for responses in one segment, in two segments, and for streams."""
    assert results_of(exchanges, remembered_bytes=1024) == results_of(exchanges, remembered_bytes=0)


def results_of(exchanges: list[tuple[bytes, int, bool]], remembered_bytes: int) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http1, "_USUAL_HEAD_BYTES", remembered_bytes)
        peer = Peer()
        for response, cut, has_body in exchanges:
            if not peer.wire.is_open:
                break
            peer.witness.on_head = None if has_body else lambda *_: NoBody
            if not peer.connection.is_busy:
                peer.ask()
            peer.says(*filter(None, (response[:cut], response[cut:])))
            peer.witness.events.append("next")
        return peer.witness.events


def test_a_response_with_a_cached_head_is_not_parsed() -> None:
    peer = Peer()
    peer.says(reply(b"hi"))
    peer.ask()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer.connection, "_parse", lambda _: pytest.fail("parsed"))
        assert peer.says(reply(b"yo"))[-1] == (200, b"yo")
    peer.ask()
    assert peer.says(reply(b"hi", b"X: y"))[-1] == (200, b"hi")


def test_a_long_head_is_not_cached() -> None:
    peer = Peer(head=10_000)
    peer.says(reply(b"hi", b"X: " + b"y" * 2_000))
    assert len(peer.connection._usual_start) == 0
