"""Reading the frames of a watch over connections in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from wsproto.events import BytesMessage

from eas_tw import AttemptStatus, BodyError, ConfigError, Frame, QueueClient
from eas_tw.net.websocket import PING_EVERY_S
from eas_tw.queue.watcher import STALE_COUNTS_S
from eas_tw.telemetry.events import FrameReceived, WatchLost
from tests.net.calling import Result
from tests.queue.peer import QueueHarness, frame_bytes
from tests.queue.watched import Watched


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


def test_a_slow_reader_pauses_the_socket_and_reading_resumes_it() -> None:
    watched = Watched(window=3, auto_commit=True)
    watched.service.send(1, 2, 3)
    assert not watched.service.wire.is_paused
    watched.service.send(4)
    assert watched.service.wire.is_paused
    for _ in range(10):  # missing pongs do not count while the connection is paused, because they cannot be read
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
    watched.reconnected().send(3, 4)  # frames 1 and 2 were sent to another consumer
    reading = watched.reading()
    assert not reading.fired
    watched.watcher.commit(1)
    watched.harness.asked().answer()
    assert reading.value.index == 3
    reading = watched.reading()
    assert not reading.fired
    watched.harness.reactor.advance(STALE_COUNTS_S)  # frame 2 no longer counts: another client may have committed it
    assert reading.value.index == 4
    watched.harness.assert_clean()


def test_a_fragmented_message_is_one_frame_and_text_is_ignored() -> None:
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


def test_frames_of_one_segment_are_read_in_order_without_recursion_or_a_long_turn() -> None:
    watched = Watched(index_only=True)
    found: list[int] = []

    def take(frame: Frame | None) -> None:
        assert frame is not None
        found.append(frame.index)
        watched.watcher.next_frame().addCallback(take)

    watched.watcher.next_frame().addCallback(take)
    watched.service.send_together(*[frame_bytes(index) for index in range(1, 3001)])
    assert found == list(range(1, 501))
    assert watched.service.wire.is_paused
    watched.harness.reactor.pump([0.0] * 6)
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


def test_a_frame_that_has_arrived_can_be_taken_without_waiting() -> None:
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
    """The watch is not reopened, because the service would send the same frame again."""
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
