"""A watcher on connections in memory: reconnects, commits, backpressure, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from wsproto.events import BytesMessage, CloseConnection, Ping

from eas_tw import (
    AttemptStatus,
    BodyError,
    ClientClosed,
    ConfigError,
    ConnectionFailed,
    Frame,
    QueueClient,
    StatusError,
    Watcher,
)
from eas_tw.net.websocket import MAX_MISSING_PONGS, PING_EVERY_S
from eas_tw.queue.commits import MOST_INDEXES, CommitBatches
from eas_tw.queue.watcher import STALE_COUNTS_S
from eas_tw.telemetry.events import FrameReceived, FramesCommitted, WatchLost, WatchOpened
from tests.net.calling import Result
from tests.queue.peer import QueueHarness, Service, frame_bytes


class Watched:
    """An open watch."""

    def __init__(self, n: int = 2, settings: dict[str, Any] | None = None, **options: Any) -> None:
        self.harness = QueueHarness(n, **(settings or {}))
        self.watcher: Watcher = self.harness.client.sink().watch(**options)
        self.opening = Result(self.watcher.open())
        self.service = self.harness.upgraded()
        assert self.opening.value is self.watcher

    def read(self) -> Frame | None:
        frame = self.reading().value
        assert frame is None or isinstance(frame, Frame)
        return frame

    def reading(self) -> Result:
        return Result(self.watcher.next_frame())

    def indexes(self, count: int) -> list[int]:
        frames = [self.read() for _ in range(count)]
        return [frame.index for frame in frames if frame is not None]

    def reconnected(self) -> Service:
        """Let the pause pass, and accept the next watch."""
        self.harness.reactor.advance(0.1)
        self.service = self.harness.upgraded()
        return self.service

    def events(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.harness.events if isinstance(event, kind)]


def test_the_upgrade_is_a_websocket_request_with_identity_and_bare_token() -> None:
    watched = Watched(index=3, window=5, tags={"k": "v"})
    asked = watched.service.asked
    assert asked.target == (
        "/api/predict/svc/sink?_watch_=true&_index_=3&_window_=5&_index_only_=false&_auto_commit_=false&k=v"
    )
    lines = asked.head.split("\r\n")[1:]
    assert {
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Authorization: t0ken",
        "X-EAS-QueueService-Redis-Uid: u1",
        "X-EAS-QueueService-Redis-Gid: g1",
        "Accept: application/vnd.google.protobuf",
    } < set(lines)
    assert not [line for line in lines if line.lower().startswith(("sec-websocket-protocol", "sec-websocket-ext"))]
    watched.harness.assert_clean()


def test_frames_are_read_as_they_come_and_commits_are_requests_of_their_own() -> None:
    watched = Watched()
    reading = watched.reading()
    assert not reading.fired
    watched.service.send(1, data=b"one", request_id="r1")
    assert reading.value == Frame(1, {"requestId": "r1"}, b"one")
    committing = Result(watched.watcher.commit(reading.value))
    asked = watched.harness.asked()
    assert (asked.method, asked.target) == ("PUT", "/api/predict/svc/sink?_indexes_=1")
    asked.answer()
    assert committing.value is None
    assert watched.watcher.instance is not None
    watched.harness.assert_clean()


def test_commits_that_are_made_while_one_is_on_its_way_are_sent_together() -> None:
    watched = Watched()
    watched.service.send(1, 2, 3)
    committing = [Result(watched.watcher.commit(index)) for index in watched.indexes(3)]
    first = watched.harness.asked()
    assert first.query == {"_indexes_": "1"}
    first.answer()
    second = watched.harness.asked()
    assert second.query == {"_indexes_": "2,3"}
    second.answer()
    assert [one.value for one in committing] == [None, None, None]
    assert [event.indexes for event in watched.events(FramesCommitted)] == [(1,), (2, 3)]
    assert watched.harness.client.counters.commits == 3
    watched.harness.assert_clean()


def test_a_failed_commit_is_an_error_and_may_be_made_again() -> None:
    watched = Watched()
    watched.service.send(1)
    frame = watched.read()
    assert frame is not None
    committing = Result(watched.watcher.commit(frame))
    watched.harness.asked().answer(b"", 404)
    assert isinstance(committing.error, StatusError)
    assert watched.harness.client.counters.commits_failed == 1
    again = Result(watched.watcher.commit(frame))
    watched.harness.asked().answer()
    assert again.value is None
    watched.harness.assert_clean()


def test_a_rejected_frame_goes_back_and_is_read_again_when_it_comes_again() -> None:
    watched = Watched(window=1)
    watched.service.send(1)
    watched.read()
    rejecting = Result(watched.watcher.reject(1, code="Busy", reason="not now"))
    asked = watched.harness.asked()
    assert asked.query == {"_indexes_": "1", "_negative_": "true"}
    assert asked.body == b"_code_=Busy&_reason_=not+now"
    asked.answer()
    assert rejecting.value is None
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    watched.harness.assert_clean()


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("by", ["watcher", "queue"])
def test_a_rejected_frame_is_read_again_when_it_comes_before_the_answer(by: str, is_answered: bool) -> None:  # noqa: FBT001
    """The only consumer of a group gets it again at once. It once waited for the commit of a frame it lacked."""
    watched = Watched(window=1, settings={"timeout_s": 1.0})
    sink = watched.harness.client.sink()
    watched.service.send(1)
    watched.read()
    rejecting = Result(watched.watcher.reject(1, "Busy") if by == "watcher" else sink.reject(1, "Busy"))
    asked = watched.harness.asked()
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    if is_answered:
        asked.answer()
        assert rejecting.value is None
    else:
        watched.harness.reactor.advance(1.0)
        assert rejecting.error is not None
    watched.service.send(1)  # a second time: the reader has the frame now
    assert not watched.reading().fired
    watched.harness.assert_clean()


@pytest.mark.parametrize("how", ["lost", "going away", "garbage"])
def test_a_lost_watch_goes_on_at_another_instance_from_the_first_uncommitted_frame(how: str) -> None:
    watched = Watched()
    before = watched.watcher.instance
    watched.service.send(1, 2, 3)
    assert watched.indexes(2) == [1, 2]
    committing = Result(watched.watcher.commit(1))
    watched.harness.asked().answer()
    assert committing.value is None
    if how == "lost":
        watched.service.wire.lose()
    elif how == "going away":
        watched.service.close(1001)
    else:
        watched.service.wire.protocol.dataReceived(b"\xff\xff\xff\xff")
    service = watched.reconnected()
    assert service.asked.query["_index_"] == "2"
    assert watched.watcher.instance is not None
    assert watched.watcher.instance != before
    service.send(2, 3, 4)  # the service sends uncommitted frames again
    assert watched.indexes(2) == [3, 4]
    assert not watched.reading().fired
    assert [(event.index, event.is_reconnect) for event in watched.events(WatchOpened)] == [(0, False), (2, True)]
    (lost,) = watched.events(WatchLost)
    assert lost.instance == before
    assert 0 <= lost.retry_s <= 0.1
    counters = watched.harness.client.counters
    assert (counters.watches, counters.watches_lost.total(), counters.frames, counters.frames_repeated) == (2, 1, 4, 2)
    assert [event.is_repeated for event in watched.events(FrameReceived)] == [False] * 3 + [True, True, False]
    watched.harness.assert_clean()


def committed_and_lost(last_index: str, status: int = 200, **options: Any) -> Watched:
    """Return a watch that was lost after three commits; its queue then reports the index of its newest frame."""
    watched = Watched(**options)
    for index in (1, 2, 3):
        watched.service.send(index, request_id=f"old {index}")
    assert watched.indexes(3) == [1, 2, 3]
    watched.watcher.commit([1, 2, 3])
    watched.harness.asked().answer()
    watched.service.wire.lose()
    assert watched.reconnected().asked.query["_index_"] == "4"
    asked = watched.harness.asked()
    assert asked.query == {"_attrs_": "true"}
    asked.answer(b'{"stream.lastEntry": "%b"}' % last_index.encode(), status)
    return watched


@pytest.mark.parametrize("last_index", ["2", "0"])
def test_a_queue_that_was_made_anew_is_watched_from_the_given_index(last_index: str) -> None:
    watched = committed_and_lost(last_index)
    assert watched.watcher.instance is None
    lost = watched.events(WatchLost)[-1]
    assert f"its newest frame has the index {last_index}" in lost.outcome.detail
    assert watched.harness.client.ejected == ()
    assert watched.reconnected().asked.query["_index_"] == "0"
    watched.service.send(1, request_id="new 1")
    frame = watched.read()
    assert frame is not None
    assert frame.request_id == "new 1"
    watched.harness.assert_clean()


def test_after_a_queue_was_made_anew_the_newest_frame_is_the_head() -> None:
    watched = committed_and_lost("1", index=-1)
    assert watched.reconnected().asked.query["_index_"] == "0"
    watched.service.send(1)  # without a request id it could be the one that was committed
    assert watched.indexes(1) == [1]
    watched.harness.assert_clean()


@pytest.mark.parametrize(("last_index", "status"), [("3", 200), ("9", 200), ("", 200), ("x", 200), ("1", 404)])
def test_a_queue_that_goes_on_is_not_watched_anew(last_index: str, status: int) -> None:
    watched = committed_and_lost(last_index, status)
    assert watched.watcher.instance is not None
    watched.service.send(4)
    assert watched.indexes(1) == [4]
    assert len(watched.events(WatchLost)) == 1
    watched.harness.assert_clean()


def test_an_answer_about_the_queue_that_comes_after_the_end_changes_nothing() -> None:
    watched = Watched()
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    watched.watcher.commit(1)
    watched.harness.asked().answer()
    watched.service.wire.lose()
    watched.reconnected()
    asked = watched.harness.asked()
    closing = Result(watched.watcher.close())
    asked.answer(b'{"stream.lastEntry": "0"}')
    watched.harness.reactor.advance(1.0)
    assert closing.value is None
    assert len(watched.events(WatchLost)) == 1
    watched.harness.assert_clean()


def test_the_loss_of_an_open_watch_counts_against_its_instance_as_a_broken_stream_does() -> None:
    watched = Watched(settings={"eject_after": 1})
    lost_at = watched.watcher.instance
    watched.service.wire.lose()
    assert watched.harness.client.ejected == (lost_at,)
    watched.harness.assert_clean()


def test_a_watch_goes_to_no_ejected_instance_while_there_is_another() -> None:
    watched = Watched(3, settings={"eject_after": 1, "eject_base_s": 1000.0, "eject_max_s": 1000.0})
    lost_at = watched.watcher.instance
    for _ in range(4):
        watched.service.close(1001)  # not a failure, so only the first instance is ejected below
        watched.reconnected()
        watched.service.send(len(watched.events(WatchOpened)))
    assert lost_at is not None
    watched.service.wire.lose()
    ejected = watched.harness.client.ejected
    assert ejected
    for _ in range(5):
        watched.reconnected()
        assert watched.watcher.instance not in ejected
        watched.service.send(100 + len(watched.events(WatchOpened)))
        watched.service.close(1001)
    watched.harness.assert_clean()


def test_a_refused_connection_ejects_its_instance_and_the_watch_opens_elsewhere() -> None:
    harness = QueueHarness(2)
    harness.learn()
    for wire in harness.reactor.wires:
        wire.lose()
    opening = Result(harness.client.watch().open())
    harness.reactor.advance(0)
    (dial,) = harness.reactor.dials
    refused_by = dial.address[0]
    dial.fail()
    assert [instance.ip for instance in harness.client.ejected] == [refused_by]
    harness.reactor.advance(0.1)
    service = harness.upgraded()
    assert opening.fired
    assert service.wire.is_open
    harness.assert_clean()


def test_a_watch_goes_on_at_the_same_instance_rather_than_at_an_ejected_one() -> None:
    harness = QueueHarness(2)
    harness.learn()
    for wire in harness.reactor.wires:
        wire.lose()
    opening = Result(harness.client.watch().open())
    harness.reactor.advance(0)
    harness.reactor.dials[0].fail()
    (ejected,) = harness.client.ejected
    harness.reactor.advance(0.1)
    service = harness.upgraded()
    watcher = opening.value
    for _ in range(3):
        service.close(1001)
        harness.reactor.advance(0.1)
        service = harness.upgraded()
        assert watcher.instance not in (None, ejected)
        service.send(harness.client.counters.watches)
    harness.assert_clean()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
def test_a_refused_watch_is_one_clear_line_and_is_not_repeated(status: int) -> None:
    harness = QueueHarness()
    harness.learn()
    opening = Result(harness.client.watch().open())
    harness.upgraded(status, b"no such thing")
    assert isinstance(opening.error, StatusError)
    assert opening.error.status == status
    assert f"refused the watch with status {status}; the response says: no such thing" in str(opening.error)
    harness.reactor.advance(10)
    assert harness.client.counters.watches_lost == {}
    harness.assert_clean()


def test_a_service_without_websocket_is_told_from_one_that_refuses() -> None:
    harness = QueueHarness()
    harness.learn()
    opening = Result(harness.client.watch().open())
    asked = harness.asked()
    asked.answer(b"")
    assert 'queue_watch="http"' in str(opening.error)
    harness.assert_clean()


def test_a_watch_that_becomes_forbidden_ends_with_the_error() -> None:
    watched = Watched()
    watched.service.send(1)
    watched.service.wire.lose()
    watched.harness.reactor.advance(0.1)
    watched.harness.upgraded(401)
    assert watched.indexes(1) == [1]  # frames that have arrived are read first
    assert isinstance(watched.reading().error, StatusError)
    assert watched.read() is None
    watched.harness.assert_clean()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_is_not_ready_is_asked_again_with_growing_pauses(status: int) -> None:
    harness = QueueHarness()
    harness.learn()
    opening = Result(harness.client.watch().open())
    for ceiling_s in (0.1, 0.2, 0.4, 0.8):
        harness.upgraded(status)
        assert not opening.fired
        harness.reactor.advance(ceiling_s)
    assert harness.client.counters.watches_lost == {str(status): 4}
    harness.upgraded()
    assert opening.fired
    harness.assert_clean()


def test_a_watch_that_does_not_open_in_time_fails_with_the_last_reason() -> None:
    harness = QueueHarness(1, timeout_s=2.0)
    harness.learn()
    for wire in harness.reactor.wires:
        wire.lose()
    opening = Result(harness.client.watch().open())
    for _ in range(25):
        harness.reactor.advance(0.1)
        for dial in list(harness.reactor.dials):
            dial.fail()
    assert isinstance(opening.error, ConnectionFailed)
    assert str(opening.error) == "the watch of svc was not open within 2 s: connect_refused"
    harness.assert_clean()


def test_a_silent_service_is_lost_after_three_missing_pongs() -> None:
    watched = Watched()
    harness = watched.harness
    for _ in range(5):
        harness.reactor.advance(PING_EVERY_S)
        assert watched.service.pong() == 1
    assert not watched.events(WatchLost)
    for _ in range(MAX_MISSING_PONGS):
        harness.reactor.advance(PING_EVERY_S)
        assert [event for event in watched.service.received() if isinstance(event, Ping)]
        assert not watched.events(WatchLost)
    harness.reactor.advance(PING_EVERY_S)
    (lost,) = watched.events(WatchLost)
    assert lost.outcome.attempt_status is AttemptStatus.UNRESPONSIVE
    assert not watched.service.wire.is_open
    # Other connections to the instance may work, so it is not ejected.
    assert harness.client.ejected == ()
    watched.reconnected()
    watched.harness.assert_clean()


def test_frames_show_that_a_service_is_alive_even_without_pongs() -> None:
    watched = Watched()
    for index in range(1, 10):
        watched.harness.reactor.advance(PING_EVERY_S)
        watched.service.send(index)
    assert not watched.events(WatchLost)
    watched.harness.assert_clean()


def test_a_slow_reader_pauses_the_socket_and_reading_resumes_it() -> None:
    watched = Watched(window=3, auto_commit=True)
    watched.service.send(1, 2, 3)
    assert not watched.service.wire.is_paused
    watched.service.send(4)
    assert watched.service.wire.is_paused
    for _ in range(10):  # while the connection is paused, pongs cannot be read, and missing ones do not count
        watched.harness.reactor.advance(PING_EVERY_S)
    assert not watched.events(WatchLost)
    assert watched.indexes(1) == [1]
    assert not watched.service.wire.is_paused
    assert watched.indexes(3) == [2, 3, 4]
    watched.harness.assert_clean()


def test_frames_from_before_a_loss_count_in_the_window_for_a_while() -> None:
    watched = Watched(window=2)
    watched.service.send(1, 2)
    assert watched.indexes(2) == [1, 2]
    watched.service.wire.lose()
    watched.reconnected().send(3, 4)  # another consumer has 1 and 2
    reading = watched.reading()
    assert not reading.fired
    watched.watcher.commit(1)
    watched.harness.asked().answer()
    assert reading.value.index == 3
    reading = watched.reading()
    assert not reading.fired
    watched.harness.reactor.advance(STALE_COUNTS_S)  # another client may have committed 2
    assert reading.value.index == 4
    watched.harness.assert_clean()


@pytest.mark.parametrize("how", ["commit", "delete", "reject", "truncate"])
def test_a_watcher_knows_what_its_client_has_done_with_frames(how: str) -> None:
    """Programs for the official SDK commit with the queue's client, not with the watcher."""
    watched = Watched(window=1)
    sink = watched.harness.client.sink()
    acts: dict[str, Callable[[], Any]] = {
        "commit": lambda: sink.commit(1),
        "delete": lambda: sink.delete([1]),
        "reject": lambda: sink.reject(1, "Busy"),
        "truncate": lambda: sink.truncate(2),
    }
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    watched.service.wire.lose()
    watched.reconnected().send(2)
    reading = watched.reading()
    assert not reading.fired
    acting = Result(acts[how]())
    watched.harness.asked().answer()
    assert acting.value is None
    assert reading.value.index == 2
    watched.service.send(1)
    assert bool(watched.reading().fired) == (how == "reject")  # only a rejected frame is read again
    watched.harness.assert_clean()


def test_a_message_in_pieces_is_one_frame_and_text_is_ignored() -> None:
    watched = Watched()
    data = b"x" * 3000
    watched.service.wire.protocol.dataReceived(b"\x81\x02hi")
    whole = frame_bytes(1, data)
    watched.service._write(BytesMessage(whole[:1000], message_finished=False))
    watched.service._write(BytesMessage(whole[1000:]))
    frame = watched.read()
    assert frame is not None
    assert frame.data == data
    watched.harness.assert_clean()


def test_a_message_that_is_no_frame_ends_the_connection_and_not_the_watch() -> None:
    watched = Watched()
    watched.service._write(BytesMessage(b"\xff\xff"))
    (lost,) = watched.events(WatchLost)
    assert lost.outcome.attempt_status is AttemptStatus.VIOLATION
    watched.reconnected().send(1)
    assert watched.indexes(1) == [1]
    watched.harness.assert_clean()


def test_frames_that_come_together_are_read_in_order_without_recursion() -> None:
    watched = Watched(index_only=True)
    found: list[int] = []

    def take(frame: Frame | None) -> None:
        assert frame is not None
        found.append(frame.index)
        watched.watcher.next_frame().addCallback(take)

    watched.watcher.next_frame().addCallback(take)
    watched.service.send_together(*[frame_bytes(index) for index in range(1, 3001)])
    assert found == list(range(1, 3001))
    assert not watched.service.wire.is_paused


def test_the_frames_before_one_that_cannot_be_parsed_are_read() -> None:
    watched = Watched()
    reading = watched.reading()
    watched.service.send_together(frame_bytes(1), frame_bytes(2), b"\xff\xff", frame_bytes(3))
    assert reading.value == Frame(1)
    (lost,) = watched.events(WatchLost)
    assert "cannot be parsed" in lost.outcome.detail
    assert watched.indexes(1) == [2]
    watched.reconnected().send(3)
    assert watched.indexes(1) == [3]
    watched.harness.assert_clean()


def test_a_reader_that_closes_the_watcher_gets_no_further_frame_of_a_segment() -> None:
    watched = Watched()
    found: list[Any] = []

    def take(frame: Frame | None) -> None:
        found.append(frame)
        watched.watcher.close()
        watched.watcher.next_frame().addCallback(found.append)

    watched.watcher.next_frame().addCallback(take)
    watched.service.send_together(frame_bytes(1), frame_bytes(2))
    assert found == [Frame(1), None]
    assert not watched.events(WatchLost)
    watched.harness.assert_clean()


def test_a_listener_that_closes_the_watcher_ends_it_between_two_frames() -> None:
    watched = Watched()
    watched.harness.client.listen(lambda event: watched.watcher.close() if isinstance(event, FrameReceived) else None)
    reading = watched.reading()
    watched.service.send_together(frame_bytes(1), frame_bytes(2))
    assert reading.value is None
    assert len(watched.events(FrameReceived)) == 1
    watched.harness.assert_clean()


def test_a_frame_that_has_come_can_be_taken_without_waiting() -> None:
    watched = Watched()
    assert watched.watcher.ready_frame() is None
    watched.service.send_together(frame_bytes(1), frame_bytes(2))
    assert watched.watcher.ready_frame() == Frame(1)
    assert watched.indexes(1) == [2]
    reading = watched.reading()
    assert watched.watcher.ready_frame() is None
    watched.service.send(3)
    assert reading.value == Frame(3, {}, b"x")
    watched.harness.assert_clean()
    assert watched.watcher.ready_frame() is None


def test_a_slow_reader_that_takes_without_waiting_stops_the_service_too() -> None:
    watched = Watched(window=2)
    watched.service.send_together(*[frame_bytes(index) for index in range(1, 5)])
    assert watched.service.wire.is_paused
    taken = [watched.watcher.ready_frame() for _ in range(4)]
    assert [frame.index for frame in taken if frame is not None] == [1, 2, 3, 4]
    assert not watched.service.wire.is_paused
    watched.harness.assert_clean()


def test_a_message_above_the_limit_ends_the_watch_after_the_frames_before_it() -> None:
    """The service would send the same frame on the next connection."""
    watched = Watched(settings={"max_response_bytes": 100})
    watched.service.send_together(frame_bytes(1), frame_bytes(2, b"x" * 101))
    assert watched.indexes(1) == [1]
    error = watched.reading().error
    assert isinstance(error, BodyError)
    assert "a message has more than 100 bytes (max_response_bytes)" in str(error)
    assert not watched.events(WatchLost)
    watched.harness.assert_clean()


def test_arguments_that_cannot_be_read_fail_the_deferred() -> None:
    def frames() -> Any:
        yield 1
        raise ZeroDivisionError

    watched = Watched()
    for operate in (watched.watcher.commit, watched.watcher.reject):
        assert isinstance(Result(operate(frames())).error, ZeroDivisionError)
    watched.harness.assert_clean()


def test_close_waits_for_commits_and_then_sends_close_1000() -> None:
    watched = Watched()
    watched.service.send(1)
    watched.read()
    committing = Result(watched.watcher.commit(1))
    closing = Result(watched.watcher.close())
    reading = watched.reading()
    assert reading.value is None
    assert watched.service.wire.value() == b""  # the service would send the frame to another consumer
    watched.harness.asked().answer()
    assert committing.value is None
    (close,) = watched.service.received()
    assert (type(close), close.code) == (CloseConnection, 1000)
    assert not closing.fired
    watched.service._write(close.response())
    assert closing.value is None
    assert not watched.service.wire.is_open
    assert Result(watched.watcher.close()).value is None
    watched.harness.assert_clean()


def test_close_does_not_wait_for_a_service_that_does_not_answer_it() -> None:
    watched = Watched()
    closing = Result(watched.watcher.close())
    watched.harness.reactor.advance(1.0)
    assert closing.value is None
    watched.harness.assert_clean()


@pytest.mark.parametrize("is_answered", [True, False])
def test_close_does_not_wait_for_a_socket_that_does_not_close(*, is_answered: bool) -> None:
    """TLS waits for the close of the other end, which may not exist any more."""
    watched = Watched()
    wire = watched.service.wire
    wire.holds_on = True
    closing = Result(watched.watcher.close())
    if is_answered:
        watched.service.close(1000)
    else:
        watched.harness.reactor.advance(1.0)
    assert not closing.fired
    watched.harness.reactor.advance(1.0)
    assert wire.aborted
    assert closing.value is None
    watched.harness.assert_clean()


def test_the_end_of_the_stream_ends_the_iteration_after_the_frames() -> None:
    watched = Watched()
    watched.service.send(1)
    watched.service.close(1000)
    watched.harness.asked().answer(b'{"meta.state": "Ended"}')
    assert watched.indexes(1) == [1]
    assert watched.read() is None
    assert watched.read() is None
    watched.harness.reactor.advance(10)
    assert not watched.events(WatchLost)
    watched.harness.assert_clean()


def test_a_close_in_order_before_the_end_of_the_stream_is_a_loss() -> None:
    """A service closes a watch in order if another one of the same consumer replaces it, such as a delayed upgrade."""
    watched = Watched()
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    watched.service.close(1000)
    asked = watched.harness.asked()
    assert asked.query == {"_attrs_": "true"}
    asked.answer(b'{"meta.state": "Normal"}')
    assert watched.events(WatchLost)
    assert watched.reconnected().asked.query["_index_"] == "0"
    watched.service.send(2)
    assert watched.indexes(1) == [2]
    watched.harness.assert_clean()


@pytest.mark.parametrize("when", ["before the turn", "connecting", "upgrading", "open", "pausing", "asking"])
def test_closing_the_client_ends_a_watch_whatever_it_does(when: str) -> None:
    harness = QueueHarness(1)
    if when != "asking":
        harness.learn()
    for wire in harness.reactor.wires:
        wire.lose()
    watcher = harness.client.watch()
    opening = Result(watcher.open())
    if when in ("connecting", "upgrading"):
        harness.reactor.advance(0)
    if when == "upgrading":
        harness.accept_all()
    if when in ("open", "pausing"):
        service = harness.upgraded()
    if when == "pausing":
        service.wire.lose()
    closing = Result(harness.client.close())
    for _ in range(20):
        harness.reactor.advance(0.5)
    assert closing.value is None
    if when in ("open", "pausing"):
        assert Result(watcher.next_frame()).value is None
    else:
        assert isinstance(opening.error, ClientClosed)
    harness.assert_clean()


def test_a_watcher_commits_what_was_confirmed_when_its_client_closes() -> None:
    watched = Watched()
    watched.service.send(1, 2)
    committing = [Result(watched.watcher.commit(index)) for index in watched.indexes(2)]
    closing = Result(watched.harness.client.close())
    for _ in range(2):
        watched.harness.asked().answer()
    for _ in range(3):
        watched.harness.reactor.advance(1.0)
    assert [one.value for one in committing] == [None, None]
    assert closing.value is None


def test_a_commit_that_hangs_does_not_hold_up_the_client_for_longer_than_it_may_drain() -> None:
    watched = Watched(settings={"drain_timeout_s": 2.0, "timeout_s": 1000.0})
    watched.service.send(1)
    watched.read()
    committing = Result(watched.watcher.commit(1))
    closing = Result(watched.harness.client.close())
    watched.harness.reactor.advance(1.9)
    assert watched.service.wire.is_open
    for _ in range(40):
        watched.harness.reactor.advance(0.1)
    assert closing.value is None
    assert isinstance(committing.error, ClientClosed)
    watched.harness.assert_clean()


def test_frames_that_were_not_read_are_dropped_by_close() -> None:
    """The service sends them to another consumer."""
    watched = Watched()
    watched.service.send(1, 2)
    assert watched.indexes(1) == [1]
    watched.watcher.close()
    assert watched.read() is None
    watched.harness.assert_clean()


def test_a_cancelled_read_loses_no_frame() -> None:
    watched = Watched()
    reading = watched.watcher.next_frame()
    reading.addErrback(lambda _: None)
    reading.cancel()
    watched.service.send(1)
    assert watched.indexes(1) == [1]
    watched.harness.assert_clean()


def test_a_cancelled_opening_leaves_nothing() -> None:
    harness = QueueHarness()
    harness.learn()
    opening = harness.client.watch().open()
    failed = Result(opening)
    harness.reactor.advance(0)
    opening.cancel()
    assert failed.fired
    harness.assert_clean()


@pytest.mark.parametrize(
    ("misuse", "says"),
    [
        (lambda watched: watched.watcher.open(), "opened once"),
        (lambda watched: watched.watcher.commit("1"), "index must be"),
        (lambda watched: watched.watcher.reject([None]), "index must be"),
        (lambda watched: watched.watcher.reject(1, code="not a code!"), "code must be"),
    ],
)
def test_a_wrong_use_is_one_clear_line(misuse: Callable[[Watched], Any], says: str) -> None:
    watched = Watched()
    error = Result(misuse(watched)).error
    assert isinstance(error, ConfigError)
    assert says in str(error)
    watched.harness.assert_clean()


def test_a_watcher_has_one_reader_and_must_be_open() -> None:
    watched = Watched()
    unopened = Result(watched.harness.client.watch().next_frame())
    assert "not open" in str(unopened.error)
    watched.reading()
    assert "one reader" in str(watched.reading().error)
    watched.harness.assert_clean()


def test_wrong_arguments_of_a_watch_are_reported_before_it_begins() -> None:
    client: QueueClient = QueueHarness().client
    for options in ({"window": 0}, {"index": -2}, {"tags": {"_x": "1"}}):
        with pytest.raises(ConfigError):
            client.watch(**options)


def test_a_watcher_in_async_with_is_read_with_async_for() -> None:
    harness = QueueHarness()
    found = []

    async def work() -> None:
        async with harness.client.watch() as watcher:
            async for frame in watcher:
                found.append(frame.index)
                await watcher.commit(frame)

    working = Result(Deferred.fromCoroutine(work()))
    service = harness.upgraded()
    service.send(1, 2)
    for _ in range(2):
        harness.asked().answer()
    service.close(1000)
    harness.asked().answer(b'{"meta.state": "Ended"}')
    harness.reactor.advance(0)
    assert working.value is None
    assert found == [1, 2]
    harness.assert_clean()


def test_a_batch_of_commits_is_bounded() -> None:
    sent: list[tuple[int, ...]] = []
    waiting: list[Deferred[Any]] = []

    def send(indexes: tuple[int, ...]) -> Deferred[Any]:
        sent.append(indexes)
        waiting.append(Deferred())
        return waiting[-1]

    commits = CommitBatches(send)
    first = Result(commits.commit((0,)))
    many = Result(commits.commit(tuple(range(1, MOST_INDEXES + 11))))
    idle = Result(commits.when_idle())
    for _ in range(3):
        waiting[-1].callback(None)
    assert [len(batch) for batch in sent] == [1, MOST_INDEXES, 10]
    assert (first.value, many.value, idle.value) == (None, None, None)


def test_a_frame_that_the_service_refuses_does_not_fail_the_commits_of_other_callers() -> None:
    watched = Watched()
    watched.service.send(1, 2)
    first, wrong, other = (Result(watched.watcher.commit(index)) for index in (1, 99, 2))
    watched.harness.asked().answer()
    together = watched.harness.asked()
    assert together.query == {"_indexes_": "99,2"}
    together.answer(b"no frame 99", 404)
    for index, status in (("99", 404), ("2", 200)):
        asked = watched.harness.asked()
        assert asked.query == {"_indexes_": index}
        asked.answer(b"", status)
    assert first.value is None
    assert isinstance(wrong.error, StatusError)
    assert other.value is None
    assert [(event.indexes, event.error) for event in watched.events(FramesCommitted)] == [
        ((1,), ""),
        ((99,), "StatusError"),
        ((2,), ""),
    ]
    watched.harness.assert_clean()


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_token_fails_a_batch_of_commits_with_one_request(status: int) -> None:
    watched = Watched()
    commits = [Result(watched.watcher.commit(index)) for index in (1, 2, 3)]
    watched.harness.asked().answer()
    watched.harness.asked().answer(b"", status)
    assert [type(commit.value) for commit in commits[:1]] == [type(None)]
    assert [commit.error.status for commit in commits[1:]] == [status, status]
    watched.harness.assert_clean()


def test_a_cancelled_commit_stops_the_wait_and_not_the_request() -> None:
    waiting: Deferred[Any] = Deferred()
    commits = CommitBatches(lambda _: waiting)
    cancelled = commits.commit((1, 1))
    failed = Result(cancelled)
    other = Result(commits.commit((2,)))
    cancelled.cancel()
    assert failed.fired
    assert not waiting.called
    waiting.callback(None)
    assert other.value is None
