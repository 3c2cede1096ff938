"""The client's WebSocket connection reads the same events as wsproto, however the bytes are split into segments."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request

from eas_tw.net.websocket import WebSocketConnection
from eas_tw.net.websocket_frames import FrameSplitter
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from tests.net.wire import Wire

MAX_BYTES = 70_000
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10


def frame(payload: bytes, opcode: int = BINARY, *, first: int = 0x80, mask: bool = False, form: int = 0) -> bytes:
    """Encode a frame, including frames that RFC 6455 forbids.

    Args:
        payload: The payload.
        opcode: The opcode.
        first: The FIN bit and the reserved bits, as the high bits of the first byte.
        mask: Whether the mask bit is set.
        form: Size of the extended length, 2 or 8 bytes; 0 for the shortest form.
    """
    size = len(payload)
    form = form or (0 if size < 126 else 2 if size < 2**16 else 8)
    short = {0: size, 2: 126, 8: 127}[form] | (0x80 if mask else 0)
    length = {0: b"", 2: struct.pack("!H", size & 0xFFFF), 8: struct.pack("!Q", size)}[form]
    return bytes([first | opcode, short]) + length + (b"\0\0\0\0" if mask else b"") + payload


@define
class Read:
    """The events that were read from the bytes of a service.

    Attributes:
        messages: The binary messages.
        pings: The payloads of the pings that were answered with a pong.
        status: How the connection ended; `None` if it is open.
        close_code: The code of the service's Close frame; `None` without one.
    """

    messages: list[bytes] = field(factory=list)
    pings: list[bytes] = field(factory=list)
    status: AttemptStatus | None = None
    close_code: int | None = None


class Owner(Read):
    """Records what a connection reports to its owner (`WebSocketOwner`)."""

    is_open = is_lost = False
    detail = ""
    http_status = 0
    body = b""

    def websocket_opened(self) -> None:
        self.is_open = True

    def websocket_messages(self, messages: Sequence[bytes]) -> None:
        assert messages
        self.messages += messages

    def websocket_ended(self, outcome: Outcome, body: bytes, close_code: int | None) -> None:
        assert self.status is None
        self.status, self.close_code, self.detail = outcome.attempt_status, close_code, outcome.detail
        self.http_status, self.body = outcome.status, body

    def socket_lost(self) -> None:
        self.is_lost = True


class Watched:
    """A client connection in memory, with a wsproto server at the other end."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.clock = Clock()
        self.owner = Owner()
        self.connection = WebSocketConnection(
            self.clock, self.owner, "host", "/path", [], max_message_bytes=max_bytes, open_within_s=5.0
        )
        self.wire = Wire(self.connection)
        self.connection.makeConnection(self.wire)  # type: ignore[arg-type]
        self.server = WSConnection(ConnectionType.SERVER)
        self.server.receive_data(self.wire.take())
        assert isinstance(next(self.server.events()), Request)
        self.head = self.server.send(AcceptConnection())

    def feed(self, data: bytes, cuts: Sequence[int] = ()) -> None:
        for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
            if self.wire.is_open:
                self.connection.dataReceived(data[start:end])

    def read(self) -> Read:
        """Return what the connection has read, with the pings that it has answered."""
        self.server.receive_data(self.wire.take())
        pings = [bytes(event.payload) for event in self.server.events() if isinstance(event, Pong)]
        owner = self.owner
        return Read(owner.messages, pings, owner.status, owner.close_code)


def read_by_wsproto(data: bytes, max_bytes: int = MAX_BYTES) -> Read:
    """Read all bytes with wsproto alone, as the oracle."""
    read, connection, pieces = Read(), Connection(ConnectionType.CLIENT), b""
    connection.receive_data(data)
    for event in connection.events():
        if isinstance(event, Ping):
            read.pings.append(bytes(event.payload))
        elif isinstance(event, BytesMessage):
            pieces += event.data
            if len(pieces) > max_bytes:
                read.status = AttemptStatus.VIOLATION
                break
            if event.message_finished:
                read.messages.append(pieces)
                pieces = b""
        elif isinstance(event, CloseConnection):
            is_close = connection.state is ConnectionState.REMOTE_CLOSING
            read.status = AttemptStatus.ANSWERED if is_close else AttemptStatus.VIOLATION
            read.close_code = int(event.code) if is_close else None
            break
    return read


SIZES = st.sampled_from([0, 1, 5, 124, 125, 126, 127, 128, 200, 65_535, 65_536, MAX_BYTES, MAX_BYTES + 1])
PAYLOADS = st.builds(lambda size, fill: bytes([fill]) * size, SIZES, st.integers(0, 255))
SMALL = st.binary(max_size=125)
USUAL = st.one_of(
    st.builds(frame, PAYLOADS),
    st.builds(frame, st.binary(max_size=300)),
    st.builds(frame, SMALL, st.sampled_from([PING, PONG])),
)
UNUSUAL = st.one_of(
    st.builds(
        frame,
        st.binary(max_size=200),
        st.integers(0, 15),
        first=st.sampled_from([0, 0x80, 0x80, 0x80, 0x40, 0x20, 0x10, 0xF0]),
        mask=st.booleans(),
        form=st.sampled_from([0, 2, 8]),
    ).filter(bool),
    st.builds(
        lambda code, why: frame(struct.pack("!H", code) + why, CLOSE),
        st.integers(0, 5000),
        SMALL.map(lambda b: b[:100]),
    ),
    st.builds(
        lambda opcode, parts: b"".join(
            frame(part, opcode if at == 0 else CONTINUATION, first=0x80 if at == len(parts) - 1 else 0)
            for at, part in enumerate(parts)
        ),
        st.sampled_from([BINARY, BINARY, TEXT]),
        st.lists(SMALL, min_size=2, max_size=4),
    ),
    st.binary(max_size=20),
)


@st.composite
def conversations(draw: Any) -> tuple[bytes, list[int]]:
    """Generate the bytes of a service after the upgrade, and the positions at which they are split into segments."""
    usual = draw(st.lists(USUAL, max_size=6))
    rest = draw(st.lists(st.one_of(USUAL, UNUSUAL), max_size=4))
    data = b"".join((*usual, *rest))
    ends = [sum(map(len, (*usual, *rest)[:at])) for at in range(len(usual) + len(rest) + 1)]
    near = st.builds(lambda end, off: min(max(end + off, 0), len(data)), st.sampled_from(ends), st.integers(-3, 12))
    cuts = draw(st.lists(st.one_of(near, st.integers(0, len(data))), max_size=8))
    return data, sorted(cuts)


@given(conversations())
def test_frames_are_read_as_wsproto_reads_them_however_they_are_divided(conversation: tuple[bytes, list[int]]) -> None:
    data, cuts = conversation
    watched = Watched()
    watched.feed(watched.head)
    watched.feed(data, cuts)
    assert watched.read() == read_by_wsproto(data)


@given(conversations(), st.integers(0, 200))
def test_frames_that_come_with_the_head_of_the_upgrade_are_read_too(
    conversation: tuple[bytes, list[int]], cut: int
) -> None:
    data, _ = conversation
    watched = Watched()
    watched.feed(watched.head + data, [min(cut, len(watched.head + data))])
    assert watched.owner.is_open
    assert watched.read() == read_by_wsproto(data)


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.mark.parametrize("count", [1, 16, 17])
def test_interim_responses_before_the_upgrade_are_skipped(count: int) -> None:
    """A proxy may send `103 Early Hints`; a service that sends nothing else must not keep the watch from ending."""
    watched = Watched()
    whole = HINTS * count + watched.head + frame(b"1")
    watched.feed(whole, range(1, len(whole)))
    if count <= 16:
        assert watched.owner.is_open
        assert watched.owner.messages == [b"1"]
    else:
        assert not watched.owner.is_open
        assert (watched.owner.status, watched.owner.detail) == (
            AttemptStatus.VIOLATION,
            "more than 16 interim responses",
        )


def test_a_refusal_after_an_interim_response_is_reported_with_its_own_status_and_body() -> None:
    watched = Watched()
    watched.feed(HINTS + b"HTTP/1.1 401 X\r\nContent-Length: 2\r\n\r\nno")
    assert (watched.owner.status, watched.owner.http_status, watched.owner.body) == (AttemptStatus.STATUS, 401, b"no")


@pytest.mark.parametrize("framing", [b"\r\nContent-Length: 99", b"\r\nTransfer-Encoding: chunked", b""])
def test_a_refusal_whose_body_does_not_end_is_reported_after_a_second(framing: bytes) -> None:
    """The watch ended with "no instance has answered", because nothing was reported before it had to be open."""
    watched = Watched()
    watched.feed(b"HTTP/1.1 401 X" + framing + b"\r\n\r\n" + (b"2\r\nno\r\n" if b"chunked" in framing else b"no"))
    watched.clock.advance(0.9)
    assert watched.owner.status is None
    watched.clock.advance(0.1)
    assert (watched.owner.status, watched.owner.http_status, watched.owner.body) == (AttemptStatus.STATUS, 401, b"no")
    assert watched.owner.is_lost
    assert not watched.clock.getDelayedCalls()


def test_a_response_that_is_neither_an_upgrade_nor_an_error_is_reported_at_its_head() -> None:
    """Its body may have no end: a proxy that removes the offer of the upgrade makes it a watch over HTTP."""
    watched = Watched()
    watched.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (watched.owner.status, watched.owner.http_status) == (AttemptStatus.STATUS, 200)
    assert watched.owner.is_lost
    assert not watched.clock.getDelayedCalls()


def test_bytes_that_arrive_one_by_one_are_read_as_wsproto_reads_them() -> None:
    data = b"".join(
        [frame(b"a" * size) for size in (0, 1, 125, 126, 300)] + [frame(b"hi", PING), frame(b"b"), frame(b"c", first=0)]
    ) + frame(b"d", CONTINUATION)
    watched = Watched()
    whole = watched.head + data
    watched.feed(whole, range(1, len(whole)))
    read = watched.read()
    assert read == read_by_wsproto(data)
    assert [len(message) for message in read.messages] == [0, 1, 125, 126, 300, 1, 2]
    assert read.pings == [b"hi"]


def test_messages_of_one_segment_are_returned_together() -> None:
    splitter = FrameSplitter(MAX_BYTES)
    splitter.feed(frame(b"1") + frame(b"2" * 300) + frame(b"!", PONG) + frame(b"3") + frame(b"4" * 65_536) + b"\x82")
    assert splitter.split(9) == ([b"1", b"2" * 300], frame(b"!", PONG))
    assert splitter.split(9) == ([b"3", b"4" * 65_536], b"")
    splitter.feed(b"\x01")
    assert splitter.split(9) == ([], b"")
    splitter.feed(b"5")
    assert splitter.split(9) == ([b"5"], b"")


@pytest.mark.parametrize(
    "unusual",
    [
        frame(b"text", TEXT),
        frame(b"part", first=0),
        frame(b"masked", mask=True),
        frame(b"reserved", first=0xC0),
        frame(b"short", form=2),
        frame(b"short", form=8),
        frame(b"x" * 126, PING),
        frame(b"x" * (MAX_BYTES + 1))[:20],
        b"\x83\x00",
    ],
)
def test_all_bytes_after_an_unusual_frame_are_passed_to_wsproto(unusual: bytes) -> None:
    splitter = FrameSplitter(MAX_BYTES)
    splitter.feed(frame(b"1") + unusual)
    assert splitter.split(9) == ([b"1"], unusual)
    assert splitter.split(9) == ([], b"")
    splitter.feed(frame(b"2"))
    assert splitter.split(9) == ([], frame(b"2"))


def test_a_message_above_the_limit_is_a_violation_before_it_is_complete() -> None:
    watched = Watched(max_bytes=1000)
    watched.feed(watched.head + frame(b"x" * 2**20)[:1100])
    assert watched.owner.status is AttemptStatus.VIOLATION
    assert "more than 1000 bytes" in watched.owner.detail
    assert not watched.wire.is_open


FLOODS = {
    "pings": frame(b"", PING) * 30_000,
    "pongs": frame(b"", PONG) * 30_000,
    "messages": frame(b"") * 30_000,
    "text": frame(b"", TEXT) * 30_000,
    "fragments": frame(b"", first=0) + frame(b"", CONTINUATION, first=0) * 30_000 + frame(b"", CONTINUATION),
    "pings in a fragment": frame(b"", first=0) + frame(b"", PING) * 30_000 + frame(b"", CONTINUATION),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_many_tiny_frames_of_one_segment_are_handled_in_several_turns(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 30,000 frames in one turn took up to half a second, in which the reactor did nothing else."""
    watched = Watched()
    watched.feed(watched.head)
    work: list[int] = []
    parse, split, read_frames = WebSocketConnection._parse, FrameSplitter.split, WebSocketConnection._read_frames

    def counted_parse(connection: WebSocketConnection, data: bytes) -> int:
        count = parse(connection, data)
        work[-1] += count
        return count

    def counted_split(splitter: FrameSplitter, most: float) -> tuple[list[bytes], bytes]:
        messages, rest = split(splitter, most)
        work[-1] += len(messages)
        return messages, rest

    def begin_turn(connection: WebSocketConnection) -> None:
        work.append(0)
        read_frames(connection)

    monkeypatch.setattr(WebSocketConnection, "_parse", counted_parse)
    monkeypatch.setattr(WebSocketConnection, "_read_frames", begin_turn)
    monkeypatch.setattr(FrameSplitter, "split", counted_split)
    watched.feed(FLOODS[kind])
    assert watched.wire.is_paused
    watched.clock.advance(0)
    assert not watched.wire.is_paused
    assert max(work) < 1600
    assert len(watched.owner.messages) == {"messages": 30_000, "pongs": 0, "pings": 0, "text": 0}.get(kind, 1)
    watched.feed(frame(b"last"))
    assert watched.owner.messages[-1] == b"last"


@pytest.mark.parametrize("end", ["close", "loss", "abort"])
def test_frames_that_are_left_for_the_next_turn_are_delivered_before_the_end(end: str) -> None:
    watched = Watched()
    watched.feed(watched.head + frame(b"x") * 2000 + (frame(struct.pack("!H", 1000), CLOSE) if end == "close" else b""))
    assert len(watched.owner.messages) == 500
    if end == "close":
        watched.clock.pump([0.0] * 4)
    elif end == "loss":
        watched.wire.lose()
    else:
        watched.connection.abort()
    assert len(watched.owner.messages) == (500 if end == "abort" else 2000)
    assert watched.owner.status is not None
    assert watched.owner.is_lost
    assert not watched.clock.getDelayedCalls()


def test_a_paused_connection_with_frames_for_the_next_turn_is_not_read_before_it_is_resumed() -> None:
    watched = Watched()
    watched.feed(watched.head + frame(b"x") * 700)
    watched.connection.pause()
    watched.clock.advance(0)
    assert watched.wire.is_paused
    watched.connection.resume()
    assert not watched.wire.is_paused


def test_a_service_that_reads_nothing_gets_a_bounded_number_of_pongs() -> None:
    """Twisted pauses the producer when 64 KiB are buffered."""
    watched = Watched()
    watched.feed(watched.head)
    assert watched.wire.producer is watched.connection
    assert watched.wire.streaming
    watched.connection.pauseProducing()
    watched.feed(frame(b"lost", PING))
    watched.connection.resumeProducing()
    watched.feed(frame(b"answered", PING))
    assert watched.read().pings == [b"answered"]


def test_empty_and_tiny_fragments_use_little_memory() -> None:
    watched = Watched()
    watched.feed(watched.head + frame(b"", first=0))
    for part in (b"", b"x"):
        watched.feed(frame(part, CONTINUATION, first=0) * 400)
    assert len(watched.connection._pieces) <= 2
    watched.feed(frame(b"", CONTINUATION))
    assert watched.owner.messages == [b"x" * 400]


@pytest.mark.parametrize(
    "head",
    [
        UPGRADED + b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: \xff\r\n\r\n",
        UPGRADED + b"Sec-WebSocket-Protocol: \xff\r\n\r\n",
        b"nothing like HTTP\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 2**17,
        b"\x82\x01x" * 10_000,
    ],
    ids=["accept", "bare", "connection", "protocol", "no HTTP", "endless", "frames"],
)
def test_a_wrong_response_to_the_upgrade_is_a_violation(head: bytes) -> None:
    for cuts in ([], range(1, min(len(head), 2000), 7)):
        watched = Watched()
        watched.feed(head, cuts)
        assert watched.owner.status is AttemptStatus.VIOLATION
        assert not watched.owner.is_open
        assert watched.owner.is_lost
        assert not watched.clock.getDelayedCalls()
