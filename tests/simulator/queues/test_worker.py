"""The workers of a queue service take frames from the input queue and put results into the sink, on a `Clock`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred

from simulator import Fault, Target
from simulator.messages import Response
from simulator.processors import Later, ProcessorRequest, UserRequestProcessor
from tests.simulator.queues.region import QueueRegion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.instance import SimulatedInstance


def results(region: QueueRegion) -> list[tuple[dict[str, str], bytes]]:
    return [(dict(frame.tags), frame.data) for frame in region.sink.store.frames.values()]


def by_work(region: QueueRegion) -> list[SimulatedInstance]:
    """Return the instances, those with most busy workers first."""
    return sorted(region.service.instances.values(), key=lambda instance: -instance.workers.busy)


def never(_: bytes) -> Deferred[bytes]:
    return Deferred()


def failing(body: bytes) -> Deferred[bytes]:
    raise ValueError(f"cannot read {body.decode()}")


def whole(request: ProcessorRequest) -> Deferred[bytes]:
    text = f"{request.method} {request.path} {request.query} {request.body.decode()} on {request.instance}"
    found: Deferred[bytes] = Deferred()
    found.callback(text.encode())
    return found


def pieces(body: bytes) -> Iterator[Any]:
    for letter in body.decode():
        yield Later(0.1, letter.upper())


def test_a_result_comes_to_the_sink_with_the_tags_of_its_frame() -> None:
    region = QueueRegion(has_workers=True)
    region.put(b"one", k="v")
    assert results(region) == [({"requestId": "req-1", "k": "v"}, b"one")]
    assert region.input.groups["workers"].committed == {1}
    region.close()


def test_a_client_gets_its_result_by_the_request_id_of_its_put() -> None:
    region = QueueRegion(has_workers=True, processing=1.0)
    request_id = region.send("POST", body=b"one").headers["x-eas-queueservice-request-id"]
    query = f"_timeout_=5s&_raw_=true&_auto_delete_=true&requestId={request_id}"
    wire = region.send("GET", query, below="/sink", instance=1)
    assert wire.received == b""
    region.wait(1.0)
    assert wire.body == b"one"
    assert not region.sink.store.frames
    region.close()


def test_an_instance_computes_as_many_frames_at_a_time_as_it_has_workers() -> None:
    region = QueueRegion(2, has_workers=True, processing=1.0, workers=2)
    region.put(*[b"x"] * 5)
    assert region.input.pending == 4
    assert [instance.workers.busy for instance in region.service.instances.values()] == [2, 2]
    region.wait(1.0)
    assert (len(results(region)), region.input.pending) == (4, 1)
    region.close()


def test_frames_of_a_higher_priority_are_computed_first() -> None:
    region = QueueRegion(1, has_workers=True, processing=1.0, workers=1)
    region.put(b"begun", b"normal")
    region.send("POST", "_priority_=1", b"urgent")
    region.wait(5.0)
    assert [body for _, body in results(region)] == [b"begun", b"urgent", b"normal"]
    region.close()


@pytest.mark.parametrize(
    ("processor", "code", "body"),
    [
        (failing, "400", b"cannot read one"),
        (lambda _: Response(503, b"busy"), "503", b"busy"),
        (pieces, None, b"ONE"),
        (UserRequestProcessor(whole), None, b"POST /sub requestId=req-1 one on qservice-0"),
    ],
    ids=["raises", "status", "stream", "whole-request"],
)
def test_the_status_of_a_processor_is_a_tag_unless_it_is_200(processor: Any, code: str | None, body: bytes) -> None:
    region = QueueRegion(1, has_workers=True, processor=processor)
    region.send("POST", body=b"one", below="/sub")
    region.wait(1.0)
    assert results(region) == [({"requestId": "req-1"} | ({"lastCode": code} if code else {}), body)]
    region.close()


def test_an_empty_result_is_not_written_and_its_frame_is_done() -> None:
    region = QueueRegion(has_workers=True)
    region.put(b"")
    assert results(region) == []
    assert region.input.groups["workers"].is_done
    region.close()


def test_frames_of_a_crashed_instance_are_computed_once_by_another() -> None:
    region = QueueRegion(2, has_workers=True, processing=1.0, workers=1)
    region.put(b"one", b"two")
    region.instance.crash()
    region.wait(5.0)
    assert sorted(body for _, body in results(region)) == [b"one", b"two"]
    region.close()


def test_a_crashed_instance_computes_again_after_its_restart() -> None:
    region = QueueRegion(2, has_workers=True)
    first, second = region.service.instances.values()
    second.crash()
    first.crash()
    first.restart()
    region.wait(0.1)
    region.put(b"one")
    assert [body for _, body in results(region)] == [b"one"]
    region.close()


def test_a_hung_instance_keeps_its_frames_and_takes_no_more() -> None:
    region = QueueRegion(2, has_workers=True, processing=1.0, workers=1)
    region.put(b"one")
    busy, other = by_work(region)
    busy.hang()
    for body in (b"two", b"three"):
        region.send("POST", body=body, port=other.port)
    region.wait(3.0)
    assert [body for _, body in results(region)] == [b"two", b"three"]
    busy.resume()
    region.wait(0.1)
    assert [body for _, body in results(region)] == [b"two", b"three", b"one"]
    region.close()


def test_a_draining_instance_finishes_its_frames_and_takes_no_more() -> None:
    region = QueueRegion(2, has_workers=True, processing=1.0, workers=1)
    region.put(b"one")
    busy, other = by_work(region)
    busy.drain()
    for body in (b"two", b"three"):
        region.send("POST", body=body, port=other.port)
    assert region.input.pending == 2
    region.wait(3.0)
    assert [body for _, body in results(region)] == [b"one", b"two", b"three"]
    region.close()


def test_a_full_sink_stops_the_input_until_it_has_room() -> None:
    region = QueueRegion(1, has_workers=True, workers=1, sink_length=2, input_length=4)
    region.put(*[b"%d" % number for number in range(1, 7)])
    assert [body for _, body in results(region)] == [b"1", b"2"]
    assert region.send("POST", body=b"7").status == 429
    for _ in range(2):
        region.send("GET", "_auto_delete_=true", below="/sink")
    assert [body for _, body in results(region)] == [b"3", b"4"]
    region.put(b"7")
    region.close()


def test_a_result_waits_for_room_and_its_frame_stays_uncommitted() -> None:
    """Two frames are computed at a time. There is no room for one of the results."""
    region = QueueRegion(1, has_workers=True, workers=2, processing=1.0, sink_length=1)
    region.put(b"one", b"two", b"three")
    region.wait(3.0)
    assert [body for _, body in results(region)] == [b"one"]
    assert region.input.pending == 1
    region.send("GET", "_auto_delete_=true", below="/sink")
    assert [body for _, body in results(region)] == [b"two"]
    region.close()


def test_slow_is_for_the_computation_and_not_for_the_requests_to_the_queue() -> None:
    region = QueueRegion(1, has_workers=True, processing=0.1)
    region.world.faults.add(Fault("slow", Target("qservice"), {"factor": 1, "extra": 900}, "f", times=1))
    region.put(b"one", b"two")
    region.wait(0.5)
    assert [body for _, body in results(region)] == [b"two"]
    region.wait(0.6)
    assert [body for _, body in results(region)] == [b"two", b"one"]
    assert not [row for row in region.world.journal.rows if row.fault]
    region.close()


def test_a_deleted_frame_has_no_result() -> None:
    region = QueueRegion(1, has_workers=True, processing=1.0)
    region.put(b"one", b"two")
    region.send("DELETE", "_indexes_=1")
    region.wait(2.0)
    assert [body for _, body in results(region)] == [b"two"]
    region.close()


def test_a_reset_discards_what_is_being_computed() -> None:
    region = QueueRegion(1, has_workers=True, processor=lambda body: Later(1.0, body), workers=1)
    region.put(b"old")
    region.world.reset()
    region.put(b"new")
    region.wait(3.0)
    assert [body for _, body in results(region)] == [b"new"]
    region.close()


def test_a_worker_is_in_the_attributes_as_a_consumer() -> None:
    region = QueueRegion(1, has_workers=True, processor=never, workers=3)
    region.put(b"one")
    body = region.send("GET", "_attrs_=true").body.decode()
    assert '"Id: workers.qservice-0, Index: 1, Pending: 1, Status: Running' in body
    assert "Window: 3, Slots: 2" in body
    region.close()
