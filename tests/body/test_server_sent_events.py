"""Parsing of server-sent events from chunks of a stream, as the WHATWG HTML standard defines (§9.2.6)."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest

from eas_tw import BodyError, ServerSentEvent, ServerSentEventParser
from eas_tw.body.server_sent_events import LineSplitter

PARTS = (
    b"data: ", b"data:", b"data", b"one", b"\xe4\xbd\xa0", b"\xe4", b"\xf0\x9f", b"\xff", b" ", b":", b"\xef\xbb\xbf",
    b"\n", b"\n\n", b"\n\n", b"\r", b"\r\n", b"id: 7", b"retry: 9", b"event: end", b"\x0b", b"\xe2\x80\xa8", b"\0",
)  # fmt: skip


def parsed(*pieces: bytes) -> list[ServerSentEvent]:
    parser = ServerSentEventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_the_pieces_of_a_stream_do_not_change_its_events() -> None:
    """Random streams give the same events when parsed byte by byte, in random pieces, and at once."""
    draw = Random(1)
    found = 0
    for _ in range(3000):
        pieces = [
            b"".join(draw.choice((*PARTS, b"data: x", b"\n\n")) for _ in range(draw.randrange(1, 7)))
            for _ in range(draw.randrange(1, 6))
        ]
        whole = b"".join(pieces)
        events = parsed(*(whole[at : at + 1] for at in range(len(whole))))
        assert parsed(*pieces) == parsed(whole) == events, pieces
        found += len(events)
    assert found > 500


def test_an_event_of_one_line_has_the_id_and_retry_that_came_before() -> None:
    (first, second) = parsed(b"id: 7\nretry: 9\n\n", b"data: one\n\n", b"data: two\n\n")
    assert first == ServerSentEvent("one", id="7", retry=9)
    assert second == ServerSentEvent("two", id="7")
    assert type(first) is ServerSentEvent


@pytest.mark.parametrize(("length", "is_allowed"), [(9, True), (10, False)])
def test_an_event_larger_than_the_bound_is_an_error(length: int, is_allowed: bool) -> None:  # noqa: FBT001  a parameter
    """The bound of ten bytes applies to the data of an event and its line end."""
    parser = ServerSentEventParser(10)
    piece = b"data: " + b"x" * length + b"\n\n"
    if is_allowed:
        assert parser.feed(piece) == [ServerSentEvent("x" * length)]
    else:
        with pytest.raises(BodyError, match="larger than 10 bytes"):
            parser.feed(piece)


def test_limits_count_bytes_and_not_characters() -> None:
    text = "\u4e2d" * 3
    assert ServerSentEventParser(10).feed(f"event: a\ndata: {text}\n\n".encode()) == [ServerSentEvent(text, "a")]
    with pytest.raises(BodyError, match="larger than 9 bytes"):
        ServerSentEventParser(9).feed(f"event: a\ndata: {text}\n\n".encode())


@pytest.mark.parametrize("pieces", [["abc\ndefgh\n"], ["ab", "cdef\n"], ["abcdef"], ["x\n\u4e2d\u4e2d\n"]])
def test_a_line_longer_than_the_limit_is_an_error_in_one_piece_and_in_several(pieces: list[str]) -> None:
    lines = LineSplitter(4)
    for piece in pieces[:-1]:
        lines.feed(piece.encode())
    with pytest.raises(BodyError, match="longer than 4 bytes"):
        lines.feed(pieces[-1].encode())


def test_lines_up_to_the_limit_are_returned() -> None:
    lines = LineSplitter(4)
    assert [line for piece in ("ab", "cd\n", "abcd\na", "b\n") for line in lines.feed(piece.encode())] == [
        "abcd",
        "abcd",
        "ab",
    ]


def test_an_unfinished_line_in_pieces_of_two_bytes_uses_little_more_memory_than_its_text() -> None:
    """Each part is an object with 50 bytes of overhead, which the limit of a line does not count."""
    splitter = LineSplitter()
    pieces = [b"%02d" % (number % 100) for number in range(50_000)]
    tracemalloc.start()
    try:
        for piece in pieces:
            assert splitter.feed(piece) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 19
    assert splitter.feed(b"\n") == [b"".join(pieces).decode()]
