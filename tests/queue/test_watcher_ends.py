"""The end of a watcher: the end of the stream, `close`, the end of its client, and cancelled reads."""

from __future__ import annotations

import pytest
from wsproto.events import CloseConnection

from eas_tw import ClientClosed
from eas_tw.telemetry.events import WatchLost
from tests.net.calling import Result
from tests.queue.peer import QueueHarness
from tests.queue.watched import Watched


def test_close_waits_for_commits_and_then_sends_close_1000() -> None:
    watched = Watched()
    watched.service.send(1)
    watched.read()
    committing = Result(watched.watcher.commit(1))
    closing = Result(watched.watcher.close())
    reading = watched.reading()
    assert reading.value is None
    assert watched.service.wire.value() == b""  # no Close yet: the service would send the frame to another consumer
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


def test_close_does_not_wait_long_for_the_services_close() -> None:
    watched = Watched()
    closing = Result(watched.watcher.close())
    watched.harness.reactor.advance(1.0)
    assert closing.value is None
    watched.harness.assert_clean()


@pytest.mark.parametrize("is_answered", [True, False])
def test_close_does_not_wait_for_a_socket_that_does_not_close(*, is_answered: bool) -> None:
    """A TLS transport waits for the peer's close, and the peer may be down."""
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


@pytest.mark.parametrize("when", ["before the turn", "connecting", "upgrading", "open", "pausing", "asking"])
def test_closing_the_client_ends_a_watch_in_every_state(when: str) -> None:
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


def test_closing_the_client_waits_for_commits_for_at_most_drain_timeout_s() -> None:
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
    """The service sends these frames to another consumer."""
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


def test_cancelling_the_opening_of_a_watch_leaves_no_connection() -> None:
    harness = QueueHarness()
    harness.learn()
    opening = harness.client.watch().open()
    failed = Result(opening)
    harness.reactor.advance(0)
    opening.cancel()
    assert failed.fired
    harness.assert_clean()
