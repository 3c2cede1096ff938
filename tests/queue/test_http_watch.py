"""A watch over plain HTTP: the records of its response body, and its connections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas_tw import BodyError, StatusError, Watcher
from eas_tw.queue.http_watch import RecordSplitter
from eas_tw.telemetry.events import WatchLost
from tests.net.calling import Result, says
from tests.queue.peer import Asked, QueueHarness, frame_bytes

HEAD = b"HTTP/1.1 200 X\r\nContent-Type: application/vnd.google.protobuf\r\nTransfer-Encoding: chunked\r\n\r\n"


@given(st.lists(st.binary(max_size=300)), st.integers(1, 64))
def test_records_are_the_same_however_their_bytes_arrive(records: list[bytes], size: int) -> None:
    stream = b"".join(len(record).to_bytes(4, "big") + record for record in records)
    splitter = RecordSplitter(300)
    found = [record for at in range(0, len(stream), size) for record in splitter.feed(stream[at : at + size])]
    assert found == records
    assert splitter.is_empty


def test_a_record_above_the_limit_is_an_error_before_it_has_come() -> None:
    with pytest.raises(BodyError, match="a frame has 101 bytes, more than 100"):
        list(RecordSplitter(100).feed((101).to_bytes(4, "big")))


class HttpWatched:
    """A watch over plain HTTP whose response head has arrived."""

    def __init__(self, n: int = 2, **options: Any) -> None:
        self.harness = QueueHarness(n, queue_watch="http")
        self.watcher: Watcher = self.harness.client.watch(**options)
        self.opening = Result(self.watcher.open())
        self.asked = self.harness.asked()
        self.answer()

    def answer(self) -> None:
        says(self.asked.wire, HEAD)

    def send(self, *indexes: int, data: bytes = b"x") -> None:
        for index in indexes:
            record = frame_bytes(index, data)
            piece = len(record).to_bytes(4, "big") + record
            says(self.asked.wire, b"%x\r\n%b\r\n" % (len(piece), piece))

    def end(self) -> None:
        says(self.asked.wire, b"0\r\n\r\n")

    def indexes(self, count: int) -> list[int]:
        return [Result(self.watcher.next_frame()).value.index for _ in range(count)]

    def again(self) -> Asked:
        self.harness.reactor.advance(0.1)
        self.asked = self.harness.asked()
        self.answer()
        return self.asked


def test_the_request_is_that_of_the_official_go_sdk_without_an_upgrade() -> None:
    watched = HttpWatched(window=5)
    assert watched.opening.value is watched.watcher
    assert "Upgrade" not in watched.asked.head
    assert "Accept: application/vnd.google.protobuf" in watched.asked.head
    assert watched.asked.query["_window_"] == "5"
    watched.send(1, 2)
    assert watched.indexes(2) == [1, 2]
    watched.harness.assert_clean()


@pytest.mark.parametrize("end", ["read", "close", "malformed"])
def test_many_tiny_records_of_one_piece_are_handled_in_several_turns(end: str) -> None:
    watched = HttpWatched(auto_commit=True, window=2000)
    found: list[int] = []

    def take(frame: Any) -> None:
        if frame is not None:
            found.append(frame.index)
            watched.watcher.next_frame().addCallback(take)

    watched.watcher.next_frame().addCallback(take)
    piece = b"".join(len(one).to_bytes(4, "big") + one for one in map(frame_bytes, range(1, 2001)))
    piece += b"\xff\xff\xff\xff" if end == "malformed" else b""
    says(watched.asked.wire, b"%x\r\n%b\r\n" % (len(piece), piece))
    assert found == list(range(1, 501))
    if end == "close":
        watched.watcher.close()
    watched.harness.reactor.advance(0)
    assert found == list(range(1, 501 if end == "close" else 2001))
    if end == "read":
        watched.send(2001)
        assert found[-1] == 2001
    watched.harness.assert_clean()


def test_a_broken_watch_continues_on_another_instance_from_the_first_uncommitted_frame() -> None:
    watched = HttpWatched()
    before = watched.watcher.instance
    watched.send(1, 2)
    assert watched.indexes(1) == [1]
    watched.watcher.commit(1)
    watched.harness.asked().answer()
    watched.asked.wire.lose()
    assert watched.again().query["_index_"] == "2"
    assert watched.watcher.instance != before
    watched.send(2, 3)
    assert watched.indexes(2) == [2, 3]
    watched.harness.assert_clean()


@pytest.mark.parametrize("state", ["Normal", "Ended"])
def test_a_body_that_ends_is_the_end_of_the_stream_if_the_attributes_say_so(state: str) -> None:
    watched = HttpWatched()
    watched.end()
    asked = watched.harness.asked()
    assert asked.query == {"_attrs_": "true"}
    asked.answer(b'{"meta.state": "%b"}' % state.encode())
    if state == "Normal":
        watched.again()
        watched.send(1)
        assert watched.indexes(1) == [1]
    else:
        assert Result(watched.watcher.next_frame()).value is None
    watched.harness.assert_clean()


def test_a_body_that_ends_inside_a_frame_is_lost() -> None:
    watched = HttpWatched()
    says(watched.asked.wire, b"2\r\n\0\0\r\n")
    watched.end()
    (lost,) = [event for event in watched.harness.events if isinstance(event, WatchLost)]
    assert lost.outcome.detail == "the stream ended inside a frame"
    watched.harness.assert_clean()


def test_a_slow_reader_stops_the_stream() -> None:
    watched = HttpWatched(window=1, auto_commit=True)
    size = 30_000
    for index in range(1, 8):
        watched.send(index, data=b"x" * size)
    assert watched.asked.wire.is_paused
    assert watched.indexes(7) == [1, 2, 3, 4, 5, 6, 7]
    assert not watched.asked.wire.is_paused
    watched.harness.assert_clean()


def test_a_refused_watch_is_an_error_and_not_repeated() -> None:
    harness = QueueHarness(queue_watch="http")
    opening = Result(harness.client.watch().open())
    harness.asked().answer(b"no", 404)
    assert isinstance(opening.error, StatusError)
    assert "refused the watch with status 404; the response says: no" in str(opening.error)
    harness.assert_clean()


@pytest.mark.parametrize("when", ["before the turn", "waiting", "open"])
def test_closing_the_watcher_closes_its_connection(when: str) -> None:
    harness = QueueHarness(1, queue_watch="http")
    harness.learn()
    watcher = harness.client.watch()
    opening = Result(watcher.open())
    if when != "before the turn":
        asked = harness.asked()
        if when == "open":
            says(asked.wire, HEAD)
    closing = Result(watcher.close())
    assert closing.value is None
    assert opening.fired
    if when != "before the turn":
        assert not asked.wire.is_open
    harness.assert_clean()


def test_many_chunks_for_a_slow_reader_are_read_without_recursion() -> None:
    watched = HttpWatched(window=10_000, auto_commit=True, index_only=True)
    watched.send(1, data=b"x" * 2**20)
    assert watched.watcher.ready_frame() is not None
    watched.send(2, data=b"x" * 2**20)
    for index in range(3, 3000):
        watched.send(index, data=b"")
    assert watched.indexes(1) == [2]
    watched.harness.reactor.advance(0)
    assert watched.indexes(2997) == list(range(3, 3000))
    watched.harness.assert_clean()


def test_a_record_above_the_limit_ends_the_watch_after_the_frames_before_it() -> None:
    watched = HttpWatched()
    record = frame_bytes(1)
    whole = len(record).to_bytes(4, "big") + record + b"\xff\xff\xff\xff"
    says(watched.asked.wire, b"%x\r\n%b\r\n" % (len(whole), whole))
    assert watched.indexes(1) == [1]
    error = Result(watched.watcher.next_frame()).error
    assert isinstance(error, BodyError)
    assert "max_response_bytes" in str(error)
    watched.harness.assert_clean()
