"""Faults on queue requests, on a `Clock`: the faults for all services, and the faults only for queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wsproto.events import Ping

from tests.simulator.queues.region import QueueRegion

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def region() -> Iterator[QueueRegion]:
    found = QueueRegion()
    yield found
    found.close()


def test_full_is_429_for_puts_and_counts_no_other_request(region: QueueRegion) -> None:
    region.queue_fault("full", times=1)
    assert region.send("GET", "_count_=true").body == b"0"
    wire = region.send("POST", body=b"one")
    assert (wire.status, wire.body) == (429, b"qservice is full: it has 0 of 230399 frames")
    assert region.put(b"one") == [1]
    assert [(row.status, row.fault) for row in region.world.journal.rows] == [(200, ""), (429, "f"), (200, "")]


def test_a_delayed_commit_is_answered_late_and_takes_effect_then(region: QueueRegion) -> None:
    region.put(b"one", b"two")
    watch = region.watch("_window_=1")
    region.queue_fault("delay_commit", times=1, delay=1000)
    wire = region.send("PUT", "_indexes_=1")
    region.wait(0.8)
    assert (wire.received, watch.indexes) == (b"", [1])
    region.wait(0.3)
    assert (wire.status, watch.indexes) == (200, [1, 2])


def test_a_delayed_commit_takes_effect_although_its_client_has_disconnected(region: QueueRegion) -> None:
    region.put(b"one", b"two")
    watch = region.watch("_window_=1")
    region.queue_fault("delay_commit", delay=1000)
    region.send("PUT", "_indexes_=1").transport.abortConnection()  # type: ignore[union-attr]
    region.wait(1.1)
    assert watch.indexes == [1, 2]


@pytest.mark.parametrize(("reset", "end"), [(False, "ConnectionDone"), (True, "ConnectionLost")])
def test_drop_watch_ends_the_connection_after_a_frame_without_a_close(
    region: QueueRegion,
    reset: bool,  # noqa: FBT001
    end: str,
) -> None:
    """The connection ends after the second frame. Uncommitted frames are sent on the next watch."""
    region.queue_fault("drop_watch", skip=1, times=1, reset=reset)
    watch = region.watch()
    region.put(b"one", b"two", b"three")
    region.wait(0.1)
    assert (watch.indexes, watch.closes, watch.wire.end) == ([1, 2], [], end)
    region.commit(1)
    assert region.watch().indexes == [2, 3]
    (row,) = [row for row in region.world.journal.rows if row.status == 101]
    assert (row.fault, row.stream, row.is_good) == ("f", "cut", False)


def test_drop_watch_ends_a_plain_watch_in_the_middle_of_its_body(region: QueueRegion) -> None:
    region.queue_fault("drop_watch", times=1)
    wire = region.send("GET", "_watch_=true&_window_=5")
    region.put(b"one")
    assert wire.end == "ConnectionDone"
    assert not wire.body.endswith(b"0\r\n\r\n")


def test_redeliver_sends_a_frame_again_that_is_not_committed_in_time(region: QueueRegion) -> None:
    region.queue_fault("redeliver", times=2, after=500)
    region.put(b"one", b"two")
    watch = region.watch()
    region.commit(1)
    assert watch.indexes == [1, 2]
    region.wait(0.6)
    assert watch.indexes == [1, 2, 2]
    region.wait(2.0)
    assert watch.indexes == [1, 2, 2]


def test_duplicate_frame_sends_a_frame_twice_and_it_is_out_once(region: QueueRegion) -> None:
    region.queue_fault("duplicate_frame", times=1)
    region.put(b"one", b"two")
    watch = region.watch("_window_=2")
    assert watch.indexes == [1, 1, 2]
    assert region.input.pending == 2


def test_faults_of_every_instance_act_on_queue_requests(region: QueueRegion) -> None:
    region.queue_fault("http_status", times=1, code=503)
    assert region.send("POST", body=b"one").status == 503
    region.queue_fault("reset_peer", times=1)
    assert region.send("POST", body=b"one").end == "ConnectionLost"
    assert not region.input.frames
    region.queue_fault("latency", times=1, latency=500)
    wire = region.send("POST", body=b"one")
    assert (wire.received, list(region.input.frames)) == (b"", [1])
    region.wait(0.5)
    assert wire.body == b"1"


def test_a_put_whose_response_is_cut_has_entered_the_queue(region: QueueRegion) -> None:
    """Without the response, a client cannot determine whether the put was stored, so it must not repeat the put."""
    region.queue_fault("limit_data", times=1, bytes=0)
    assert region.send("POST", body=b"one").received == b""
    assert list(region.input.frames) == [1]


def test_a_stalled_watch_is_silent_also_for_pings(region: QueueRegion) -> None:
    region.put(b"one")
    region.queue_fault("stall_stream", times=1, after_bytes=10, duration=1000)
    watch = region.watch()
    watch.send(Ping(payload=b"ping"))
    assert len(watch.wire.body) == 10
    assert (watch.indexes, watch.pongs) == ([], [])
    region.wait(1.1)
    assert (watch.indexes, watch.pongs) == ([1], [b"ping"])


def test_a_cut_watch_loses_its_connection_in_the_middle_of_a_frame(region: QueueRegion) -> None:
    region.put(b"one")
    region.queue_fault("cut_stream", times=1, after_bytes=10)
    watch = region.watch()
    assert len(watch.wire.body) == 10
    assert watch.wire.end == "ConnectionDone"
    assert region.watch().indexes == [1]
