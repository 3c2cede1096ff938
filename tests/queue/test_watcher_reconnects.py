"""Reconnects of a watch that is lost, rejected or silent: their time, their instance and their start index."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from wsproto.events import Ping

from eas_tw import AttemptStatus, ConnectionFailed, StatusError
from eas_tw.net.websocket import MAX_MISSING_PONGS, PING_EVERY_S
from eas_tw.telemetry.events import FrameReceived, WatchLost, WatchOpened
from tests.net.calling import Result
from tests.queue.peer import QueueHarness, Service
from tests.queue.watched import Watched


@pytest.mark.parametrize("how", ["lost", "going away", "garbage"])
def test_a_lost_watch_continues_on_another_instance_from_the_first_uncommitted_frame(how: str) -> None:
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
    """Return a watch that was lost after three commits. The newest frame of its queue now has index `last_index`."""
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
def test_a_recreated_queue_is_watched_from_the_given_index(last_index: str) -> None:
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


def test_after_a_queue_was_recreated_a_watch_from_the_newest_frame_starts_at_index_0() -> None:
    watched = committed_and_lost("1", index=-1)
    assert watched.reconnected().asked.query["_index_"] == "0"
    watched.service.send(1)  # without a request id, this frame cannot be distinguished from the old one
    assert watched.indexes(1) == [1]
    watched.harness.assert_clean()


@pytest.mark.parametrize(("last_index", "status"), [("3", 200), ("9", 200), ("", 200), ("x", 200), ("1", 404)])
def test_a_queue_that_was_not_recreated_is_watched_from_the_next_frame(last_index: str, status: int) -> None:
    watched = committed_and_lost(last_index, status)
    assert watched.watcher.instance is not None
    watched.service.send(4)
    assert watched.indexes(1) == [4]
    assert len(watched.events(WatchLost)) == 1
    watched.harness.assert_clean()


def test_attributes_that_arrive_after_the_end_of_the_watch_are_ignored() -> None:
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


def test_a_lost_watch_counts_as_a_failure_of_its_instance() -> None:
    watched = Watched(settings={"eject_after": 1})
    lost_at = watched.watcher.instance
    watched.service.wire.lose()
    assert watched.harness.client.ejected == (lost_at,)
    watched.harness.assert_clean()


def test_a_watch_goes_to_no_ejected_instance_while_there_is_another() -> None:
    watched = Watched(3, settings={"eject_after": 1, "eject_base_s": 1000.0, "eject_max_s": 1000.0})
    lost_at = watched.watcher.instance
    for _ in range(4):
        watched.service.close(1001)  # no failure, so only the first instance is ejected below
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


def test_a_watch_that_fails_everywhere_never_goes_twice_in_a_row_to_one_instance() -> None:
    harness = QueueHarness(3, timeout_s=1000.0, eject_after=1000, balancer="p2c")
    harness.learn()
    opening = Result(harness.client.watch().open())
    for _ in range(20):
        harness.asked().wire.lose()
        harness.reactor.advance(5.0)
    assert not opening.fired
    lost_at = [event.instance for event in harness.events if isinstance(event, WatchLost)]
    assert (len(lost_at), len(set(lost_at))) == (20, 3)
    assert all(before is not after for before, after in pairwise(lost_at))
    harness.assert_clean()


def test_a_watch_continues_on_the_same_instance_if_the_other_is_ejected() -> None:
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
    assert watched.indexes(1) == [1]  # frames that have arrived are read before the error
    assert isinstance(watched.reading().error, StatusError)
    assert watched.read() is None
    watched.harness.assert_clean()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_watch_on_a_service_that_is_not_ready_is_retried_with_growing_pauses(status: int) -> None:
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


def test_a_watch_opens_although_an_instance_accepts_no_upgrade() -> None:
    """The first connection had the whole time, so one hung instance of three made every third watch fail."""
    harness = QueueHarness(3, timeout_s=4.0)
    harness.learn()
    opening = Result(harness.client.watch().open())
    hung = harness.asked().wire
    harness.reactor.advance(1.0)
    assert not hung.is_open
    harness.reactor.advance(0.1)
    service = harness.upgraded()
    assert service.wire is not hung
    assert opening.fired
    harness.assert_clean()


def test_the_last_instance_has_the_whole_time_to_accept_the_upgrade() -> None:
    harness = QueueHarness(2, timeout_s=4.0)
    harness.learn()
    opening = Result(harness.client.watch().open())
    harness.asked()
    harness.reactor.advance(1.0)
    harness.reactor.advance(0.1)
    slow = harness.asked()
    harness.reactor.advance(2.8)
    Service(slow)
    assert opening.fired
    harness.assert_clean()


def test_a_watch_is_lost_after_three_missing_pongs() -> None:
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
    # The instance is not ejected, because its other connections may work.
    assert harness.client.ejected == ()
    watched.reconnected()
    watched.harness.assert_clean()


def test_a_watch_that_receives_frames_is_not_lost_without_pongs() -> None:
    watched = Watched()
    for index in range(1, 10):
        watched.harness.reactor.advance(PING_EVERY_S)
        watched.service.send(index)
    assert not watched.events(WatchLost)
    watched.harness.assert_clean()


def test_a_clean_close_before_the_end_of_the_stream_is_a_lost_watch() -> None:
    """A service also closes a watch with code 1000 if the same consumer opens another watch."""
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
