"""The watch of a queue over WebSocket and over plain HTTP, on a `Clock`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wsproto.events import BytesMessage, CloseConnection, Ping

from tests.simulator.queues.region import PROTOBUF, QueueRegion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.region import Wire

ANOTHER = {"X-EAS-QueueService-Redis-Uid": "u2"}


@pytest.fixture(params=[False, True], ids=["direct", "gateway"])
def through(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def region() -> Iterator[QueueRegion]:
    found = QueueRegion()
    yield found
    found.close()


def records(wire: Wire) -> list[bytes]:
    """Return the records of a chunked body, which have a length prefix."""
    body, chunks = b"", wire.body
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        body, chunks = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    found = []
    while body:
        size_bytes = int.from_bytes(body[:4], "big")
        found.append(body[4 : 4 + size_bytes])
        body = body[4 + size_bytes :]
    return found


def test_the_handshake_is_that_of_rfc_6455(region: QueueRegion, through: bool) -> None:  # noqa: FBT001
    """Key and accept value are those of the example in RFC 6455 §1.3."""
    watch = region.watch(port=region.gateway_port if through else 0)
    assert watch.wire.status == 101
    headers = watch.wire.headers
    assert headers["upgrade"] == "websocket"
    assert headers["connection"] == "Upgrade"
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_each_frame_is_sent_as_a_binary_message_when_it_is_put(region: QueueRegion, through: bool) -> None:  # noqa: FBT001
    region.put(b"one", k="v w")
    watch = region.watch(port=region.gateway_port if through else 0)
    assert watch.messages == [b"\x08\x01\x12\x12\n\trequestId\x12\x05req-1\x12\x08\n\x01k\x12\x03v w\x1a\x03one"]
    region.put(b"two")
    assert [(frame.index, frame.data) for frame in watch.frames] == [(1, b"one"), (2, b"two")]


def test_frames_that_wait_are_sent_together(region: QueueRegion) -> None:
    """With one segment for each frame, the simulator would be slower than the clients that the benchmarks measure."""
    region.put(*[b"x" * 100] * 5)
    watch = region.watch("_window_=9")
    assert watch.indexes == [1, 2, 3, 4, 5]
    assert watch.wire.segments == 1, "the head and all frames"


def test_the_window_bounds_pending_frames_and_a_commit_makes_room(region: QueueRegion, through: bool) -> None:  # noqa: FBT001
    region.put(*[b"x"] * 5)
    watch = region.watch("_index_=0&_window_=2", port=region.gateway_port if through else 0)
    assert watch.indexes == [1, 2]
    region.commit(2)
    assert watch.indexes == [1, 2, 3]


def test_auto_commit_and_index_only(region: QueueRegion) -> None:
    region.put(*[b"x"] * 5)
    watch = region.watch("_window_=1&_auto_commit_=true&_index_only_=true")
    assert [(frame.index, frame.data, frame.tags["requestId"]) for frame in watch.frames[:1]] == [(1, b"", "req-1")]
    assert watch.indexes == [1, 2, 3, 4, 5]
    assert region.input.pending == 0


def test_pings_are_answered_with_their_payload(region: QueueRegion, through: bool) -> None:  # noqa: FBT001
    watch = region.watch(port=region.gateway_port if through else 0)
    for payload in (b"ping", b""):
        watch.send(Ping(payload=payload))
    assert watch.pongs == [b"ping", b""]


def test_a_clients_message_is_ignored(region: QueueRegion) -> None:
    watch = region.watch()
    watch.send(BytesMessage(data=b"whatever"))
    region.put(b"one")
    assert watch.indexes == [1]


def test_a_close_of_the_client_is_answered_and_ends_the_connection(region: QueueRegion, through: bool) -> None:  # noqa: FBT001
    watch = region.watch(port=region.gateway_port if through else 0)
    watch.send(CloseConnection(code=1000))
    assert watch.closes == [1000]
    assert watch.wire.end == "ConnectionDone"
    assert region.rows == [("qservice-0", 101)]
    assert region.world.journal.rows[0].is_good


def test_bytes_that_are_no_websocket_end_it_with_a_close(region: QueueRegion) -> None:
    watch = region.watch()
    watch.wire.send(b"\xff" * 10)
    region.wait(0.1)
    assert watch.closes == [1002]
    assert watch.wire.end == "ConnectionDone"


def test_the_frames_of_a_lost_connection_come_to_another_instance(region: QueueRegion) -> None:
    region.put(b"one", b"two", b"three")
    watch = region.watch(instance=0)
    assert watch.indexes == [1, 2, 3]
    region.commit(2)
    watch.lose()
    assert region.watch(instance=1).indexes == [1, 3]


def test_the_frames_of_a_crashed_instance_come_to_the_other_consumer(region: QueueRegion) -> None:
    region.put(b"one", b"two")
    first, second = region.watch(instance=0), region.watch(instance=1, headers=ANOTHER)
    assert (first.indexes, second.indexes) == ([1, 2], [])
    region.instance.crash()
    region.wait(0.1)
    assert second.indexes == [1, 2]
    assert first.wire.end == "ConnectionLost"
    assert [row.stream for row in region.world.journal.rows if row.status == 101] == ["crashed"]


def test_a_hung_instance_answers_no_ping_and_sends_no_frame_until_it_runs(region: QueueRegion) -> None:
    watch = region.watch()
    region.instance.hang()
    watch.send(Ping(payload=b"ping"))
    region.send("POST", body=b"one", instance=1)
    assert (watch.pongs, watch.indexes, region.input.pending) == ([], [], 0)
    region.instance.resume()
    region.wait(0.1)
    assert (watch.pongs, watch.indexes) == ([b"ping"], [1])


def test_a_draining_instance_ends_its_watches_with_going_away(region: QueueRegion) -> None:
    region.put(b"one")
    watch = region.watch()
    region.instance.drain()
    region.wait(0.1)
    assert watch.closes == [1001]
    assert region.watch(instance=1).indexes == [1]
    watch.send(CloseConnection(code=1001))
    assert watch.wire.end == "ConnectionDone"


def test_a_client_that_does_not_answer_a_close_is_disconnected(region: QueueRegion) -> None:
    watch = region.watch()
    region.instance.drain()
    region.wait(4.0)
    assert watch.wire.end == ""
    region.wait(2.0)
    assert watch.wire.end == "ConnectionDone"


def test_a_watch_of_the_same_user_ends_the_earlier_one(region: QueueRegion) -> None:
    region.put(b"one")
    first, second = region.watch(), region.watch()
    assert first.closes == [1000]
    assert second.indexes == [1]
    region.put(b"two")
    assert (first.indexes, second.indexes) == ([1], [1, 2])


def test_the_gateway_ends_a_watch_on_which_nothing_comes_for_a_minute(region: QueueRegion) -> None:
    """A watch whose client sends pings is not ended."""
    silent, pinging = region.watch(port=region.gateway_port), region.watch(port=region.gateway_port, headers=ANOTHER)
    for _ in range(4):
        region.wait(20.0)
        pinging.send(Ping())
    assert silent.wire.end == "ConnectionDone"
    assert pinging.wire.end == ""


def test_a_client_that_reads_slowly_leaves_frames_to_the_others_of_its_group(region: QueueRegion) -> None:
    slow = region.watch("_window_=1000")
    slow.wire.transport.pauseProducing()  # type: ignore[union-attr]
    region.put(*[b"x" * 8000] * 60)
    quick = region.watch("_window_=1000", headers=ANOTHER)
    region.wait(0.5)
    taken = list(region.input.groups["g1"].consumers["u1"].pending)
    assert quick.indexes == [index for index in range(1, 61) if index not in taken]
    assert quick.indexes
    slow.wire.transport.resumeProducing()  # type: ignore[union-attr]
    region.wait(0.5)
    assert slow.indexes == taken


def test_two_consumers_of_a_group_share_the_frames(region: QueueRegion) -> None:
    watches = [region.watch(headers=headers) for headers in ({}, ANOTHER)]
    region.put(*[b"x"] * 8)
    assert sorted(index for watch in watches for index in watch.indexes) == list(range(1, 9))
    assert all(watch.indexes for watch in watches)


def test_the_end_of_the_stream_closes_a_watch_when_all_is_committed(region: QueueRegion, through: bool) -> None:  # noqa: FBT001
    region.put(b"one")
    watch = region.watch(port=region.gateway_port if through else 0)
    region.send("POST", "_eos_=true")
    assert watch.closes == []
    region.commit(1)
    assert watch.closes == [1000]


def test_a_forced_end_closes_a_watch_at_once(region: QueueRegion) -> None:
    region.put(b"one", b"two")
    watch = region.watch("_window_=1")
    region.send("POST", "_eos_=true&_force_=true")
    assert (watch.indexes, watch.closes) == ([1], [1000])


def test_a_reset_empties_the_queue_under_an_open_watch(region: QueueRegion) -> None:
    region.put(b"old")
    watch = region.watch()
    region.world.reset()
    region.put(b"new")
    assert [frame.data for frame in watch.frames] == [b"old", b"new"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Sec-WebSocket-Version": "8"}, 426), ({"Sec-WebSocket-Key": "short"}, 400), ({"Authorization": "x"}, 401)],
)
def test_a_bad_handshake_is_answered_over_http(region: QueueRegion, headers: dict[str, str], status: int) -> None:
    watch = region.watch(headers=headers)
    assert watch.wire.status == status
    assert not region.input.groups


def test_a_watch_without_an_upgrade_is_an_endless_body_of_records(region: QueueRegion, through: bool) -> None:  # noqa: FBT001
    region.put(b"one")
    wire = region.send(
        "GET", "_watch_=true&_window_=5", headers={"Accept": PROTOBUF}, port=region.gateway_port if through else 0
    )
    region.put(b"two")
    assert wire.headers["content-type"] == PROTOBUF
    assert wire.headers["transfer-encoding"] == "chunked"
    assert records(wire) == [
        b"\x08\x01\x12\x12\n\trequestId\x12\x05req-1\x1a\x03one",
        b"\x08\x02\x12\x12\n\trequestId\x12\x05req-2\x1a\x03two",
    ]


def test_the_head_of_a_plain_watch_comes_before_the_first_frame(region: QueueRegion) -> None:
    assert region.send("GET", "_watch_=true").status == 200


def test_the_end_of_the_stream_is_the_end_of_the_body(region: QueueRegion) -> None:
    wire = region.send("GET", "_watch_=true&_auto_commit_=true")
    region.send("POST", "_eos_=true")
    assert wire.body == b"0\r\n\r\n"


def test_attributes_list_the_consumers_and_groups_in_the_services_words(region: QueueRegion) -> None:
    region.put(b"one", b"two")
    region.watch("_index_=0&_window_=5&foo=bar")
    region.watch("_window_=1&_auto_commit_=true", headers={"X-EAS-QueueService-Redis-Gid": "g2"}).lose()
    body = region.send("GET", "_attrs_=true").body.decode()
    assert '"consumers.stats.total": "2"' in body
    assert '"Id: g1.u1, Index: 0, Pending: 0, Status: Running, Idle: ' in body
    assert ', Window: 5, Slots: 5, AutoCommit: false, Tags: tags[foo=bar]"' in body
    assert '"Id: g2.u1, Index: 2, Pending: 0, Status: Complete, Idle: ' in body
    assert ', Window: 1, Slots: 1, AutoCommit: true"' in body
    assert '"groups.list.[0]": "Id: g1", "groups.list.[1]": "Id: g2"' in body
