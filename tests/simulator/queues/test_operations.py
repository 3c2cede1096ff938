"""Operations of a queue service over HTTP, on a `Clock`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from eas_tw.body.schema import message
from tests.simulator.queues.region import PATH, PROTOBUF, QueueRegion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.region import Wire

ACCEPT = {"Accept": PROTOBUF}


@pytest.fixture
def region() -> Iterator[QueueRegion]:
    found = QueueRegion()
    yield found
    found.close()


def decoded(body: bytes, name: str = "DataFrameListProto") -> Any:
    """Decode with the messages that protoc compiled. The simulator does not use them."""
    found = message(f"eas_tw.queue.{name}")()
    found.ParseFromString(body)
    return found


def indexes(wire: Wire) -> list[int]:
    assert wire.status == 200, wire.received
    return [frame.index for frame in decoded(wire.body).index]


def test_a_put_returns_the_index_and_the_request_id(region: QueueRegion) -> None:
    wires = [region.send("POST", body=body) for body in (b"one", b"two")]
    assert [wire.body for wire in wires] == [b"1", b"2"]
    assert [wire.headers["x-eas-queueservice-request-id"] for wire in wires] == ["req-1", "req-2"]


def test_a_put_may_have_more_path_and_tags_but_no_tag_with_the_services_names(region: QueueRegion) -> None:
    assert region.send("POST", "k=v+w&_foo_=x", b"one", below="/sub/path").status == 200
    (frame,) = region.input.frames.values()
    assert (dict(frame.tags), frame.data) == ({"requestId": "req-1", "k": "v w"}, b"one")


def test_a_get_decodes_as_the_compiled_message(region: QueueRegion) -> None:
    region.put(b"one", bytes(range(256)), k="v w")
    region.put(b"x" * 5000)
    frames = decoded(region.send("GET", "_index_=0&_length_=3", headers=ACCEPT).body).index
    assert [(frame.index, dict(frame.tags), frame.data) for frame in frames] == [
        (1, {"requestId": "req-1", "k": "v w"}, b"one"),
        (2, {"requestId": "req-2", "k": "v w"}, bytes(range(256))),
        (3, {"requestId": "req-3"}, b"x" * 5000),
    ]


def test_a_get_without_accept_is_json_and_a_raw_one_the_data(region: QueueRegion) -> None:
    region.put(b"one")
    wire = region.send("GET", "_index_=0&_length_=1")
    assert json.loads(wire.body) == [
        {"index": 1, "tags": {"requestId": "req-1"}, "data": base64.b64encode(b"one").decode()}
    ]
    assert region.send("GET", "_index_=0&_raw_=true").body == b"one"


def test_a_get_with_auto_delete_has_each_frame_once(region: QueueRegion) -> None:
    region.put(b"one", b"two")
    found = [region.send("GET", "_auto_delete_=true", headers=ACCEPT) for _ in range(3)]
    assert [indexes(wire) for wire in found[:2]] == [[1], [2]]
    assert (found[2].status, found[2].body) == (204, b"")


def test_a_get_by_request_id_waits_for_it(region: QueueRegion) -> None:
    wire = region.send("GET", "_timeout_=5s&requestId=req-2", headers=ACCEPT)
    region.put(b"one")
    assert wire.received == b""
    region.put(b"two")
    assert indexes(wire) == [2]


def test_a_get_waits_for_the_requested_number_of_frames_and_then_returns_the_available_ones(
    region: QueueRegion,
) -> None:
    region.put(b"one")
    began_s = region.scheduler.seconds()
    wire = region.send("GET", "_length_=2&_timeout_=1.5s", headers=ACCEPT)
    region.wait(2.0)
    assert indexes(wire) == [1]
    assert wire.at_s - began_s == pytest.approx(1.5, abs=0.05)


def test_a_get_is_answered_by_an_instance_that_did_not_take_the_put(region: QueueRegion) -> None:
    wire = region.send("GET", "_timeout_=5s", headers=ACCEPT, instance=0)
    region.send("POST", body=b"one", instance=1)
    assert indexes(wire) == [1]


def test_a_waiting_get_whose_client_has_gone_takes_nothing(region: QueueRegion) -> None:
    wire = region.send("GET", "_timeout_=60s&_auto_delete_=true", headers=ACCEPT)
    wire.transport.abortConnection()  # type: ignore[union-attr]
    region.wait(0.1)
    region.put(b"one")
    assert indexes(region.send("GET", headers=ACCEPT)) == [1]
    assert region.rows[0] == ("qservice-0", 499)


@pytest.mark.parametrize("timeout", ["1s", "60s"])
def test_a_waiting_get_on_a_hung_instance_takes_a_frame_only_when_it_runs_again(
    region: QueueRegion, timeout: str
) -> None:
    wire = region.send("GET", f"_timeout_={timeout}&_auto_delete_=true", headers=ACCEPT)
    region.instance.hang()
    region.send("POST", body=b"one", instance=1)
    region.wait(2.0)
    assert (wire.received, list(region.input.frames)) == (b"", [1])
    region.instance.resume()
    region.wait(0.1)
    assert (indexes(wire), list(region.input.frames)) == ([1], [])


def test_search_and_count(region: QueueRegion) -> None:
    region.put(b"one", b"two")
    region.send("POST", body=b"three", headers={"X-EAS-QueueService-Priority": "1"})
    region.send("POST", "_priority_=2", body=b"four")
    assert region.send("GET", "_search_=true&_index_=2").body == b'{"IsPending":false,"WaitCount":3}'
    assert region.send("GET", "_search_=true&_index_=9").status == 404
    counts = [region.send("GET", f"_count_=true{more}").body for more in ("", "&_priority_=1", "&_priority_=2")]
    assert counts == [b"4", b"1", b"1"]


def test_delete_and_truncate(region: QueueRegion) -> None:
    region.put(b"1", b"2", b"3", b"4")
    assert region.send("DELETE", "_indexes_=1%2C3").body == b"OK"
    assert list(region.input.frames) == [2, 4]
    assert region.send("DELETE", "_index_=4&_trunc_=true").status == 200
    assert list(region.input.frames) == [4]


def test_commit_and_negative_commit_are_of_the_group_in_the_headers(region: QueueRegion) -> None:
    region.put(b"1", b"2")
    assert region.send("PUT", "_indexes_=1%2C2").body == b"OK"
    assert region.input.groups["g1"].committed == {1, 2}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    wire = region.send("PUT", "_indexes_=2&_negative_=true", b"_code_=Shutdown&_reason_=because+x", headers=form)
    assert wire.status == 200


@pytest.mark.parametrize("code", ["shutdown", "A" * 21, "Two Words", "Shutdown!"])
def test_an_invalid_code_is_rejected(region: QueueRegion, code: str) -> None:
    wire = region.send("PUT", "_indexes_=1&_negative_=true", f"_code_={code}".encode())
    assert wire.status == 400
    assert b"_code_: expected words such as Shutdown" in wire.body


def test_the_input_queue_and_the_sink_are_two_queues(region: QueueRegion) -> None:
    assert region.put(b"in") == [1]
    assert region.put(b"out", below="/sink") == [1]
    assert region.send("GET", "_raw_=true").body == b"in"
    assert region.send("GET", "_raw_=true", below="/sink").body == b"out"


def test_nothing_is_put_after_the_end_of_the_stream(region: QueueRegion) -> None:
    waiting = region.send("GET", "_timeout_=60s", headers=ACCEPT)
    assert region.send("POST", "_eos_=true").body == b"OK"
    region.wait(0.1)
    assert waiting.status == 204
    assert region.send("POST", body=b"late").status == 410
    assert json.loads(region.send("GET", "_attrs_=true").body)["meta.state"] == "Ended"


def test_a_payload_above_the_maximum_is_413_and_a_full_queue_429() -> None:
    region = QueueRegion(max_payload_bytes=3, input_length=2)
    assert region.send("POST", body=b"four").status == 413
    region.put(b"one", b"two")
    wire = region.send("POST", body=b"3rd")
    assert (wire.status, wire.body) == (429, b"qservice is full: it has 2 of 2 frames")
    region.close()


def test_attributes_as_json_and_as_protobuf(region: QueueRegion) -> None:
    region.put(b"one", b"two")
    region.send("DELETE", "_indexes_=1")
    attributes = json.loads(region.send("GET", "_attrs_=true").body)
    assert attributes == {
        "meta.backend": "memory",
        "meta.name": "qservice",
        "meta.state": "Normal",
        "meta.maxPayloadBytes": "8192",
        "meta.header.user": "X-EAS-QueueService-Redis-Uid",
        "meta.header.group": "X-EAS-QueueService-Redis-Gid",
        "meta.header.priority": "X-EAS-QueueService-Priority",
        "stream.length": "1",
        "stream.approxMaxLength": "230399",
        "stream.firstEntry": "2",
        "stream.lastEntry": "2",
    }
    found = region.send("GET", "_attrs_=true", headers=ACCEPT)
    assert dict(decoded(found.body, "AttributesProto").attributes) == attributes


@pytest.mark.parametrize("given", ["", "wrong", "Bearer t0ken", "EAS AAAAAAAAAAAAAAAAAAAAAAAAAAA="])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_the_bare_token_is_accepted(region: QueueRegion, method: str, given: str) -> None:
    assert region.send(method, headers={"Authorization": given}).status == 401


@pytest.mark.parametrize(
    ("method", "query", "says"),
    [
        ("GET", "_index_=-2", "_index_: expected a whole number from -1 to 9223372036854775807, got '-2'"),
        ("GET", "_timeout_=5", "_timeout_: expected a duration such as 5s or 1m30s, got '5'"),
        ("GET", "_raw_=maybe", "_raw_: expected true or false, got 'maybe'"),
        ("POST", "_priority_=high", "priority: expected a whole number, got 'high'"),
        ("PUT", "_indexes_=1,,2", "_indexes_: expected whole numbers with commas, got '1,,2'"),
        ("DELETE", "", "_indexes_: expected whole numbers with commas, got ''"),
    ],
)
def test_a_bad_request_is_one_line_that_says_what_would_be_right(
    region: QueueRegion, method: str, query: str, says: str
) -> None:
    wire = region.send(method, query, b"x" if method == "POST" else b"")
    assert (wire.status, wire.body.decode()) == (400, says)


def test_other_methods_and_paths_are_answered_as_such(region: QueueRegion) -> None:
    wire = region.send("PATCH")
    assert (wire.status, wire.headers["allow"]) == (405, "GET, POST, PUT, DELETE")
    assert region.send("GET", below="/sub").status == 404


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("0s", 0), ("1.5s", 1.5), ("1m30s", 90), ("250ms", 0.25)])
def test_a_timeout_is_a_duration_of_go(text: str, seconds: float) -> None:
    from simulator.queues.wire import duration_s  # noqa: PLC0415  beside its one test

    assert duration_s(text) == seconds


def test_every_operation_goes_through_the_gateway_too(region: QueueRegion) -> None:
    port = region.gateway_port
    assert region.send("POST", "k=v", b"one", port=port).body == b"1"
    assert indexes(region.send("GET", "_index_=0", headers=ACCEPT, port=port)) == [1]
    for method, query in (("PUT", "_indexes_=1"), ("DELETE", "_indexes_=1"), ("POST", "_eos_=true")):
        assert region.send(method, query, port=port).body == b"OK"
    assert region.world.journal.rows[0].path == f"{PATH}?k=v"


def test_a_reset_empties_the_queues(region: QueueRegion) -> None:
    region.put(b"one")
    region.send("POST", "_eos_=true")
    region.world.reset()
    region.wait(0.1)
    assert region.put(b"one") == [1]
