"""Faults on streamed responses: their bytes, framing, and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from simulator import Fault, ServiceSpec, Target
from simulator.fault_kinds import MALFORMED, ON_INSTANCES
from simulator.processors import Later
from simulator.response_faults import is_response_fault
from tests.simulator.region import Region
from tests.simulator.test_streaming import chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.region import Wire

BODY = b"one-two-three"


def three(_: bytes) -> Iterator[Any]:
    """Yield the head, and then three chunks with pauses of 100 ms."""
    yield b""
    for piece in (b"one-", b"two-", b"three"):
        yield Later(0.1, piece)


def ask(type_: str, **attributes: Any) -> tuple[Region, Wire]:
    region = Region(ServiceSpec("echo", 1, processor=three))
    region.world.faults.add(Fault(type_, Target("echo"), attributes))
    return region, region.ask()


def body(wire: Wire) -> bytes:
    return b"".join(chunks(wire))


def ended(region: Region) -> str:
    return str(region.world.journal.rows[-1].stream)


def test_stall_stream_continues_after_its_duration() -> None:
    region, wire = ask("stall_stream", after_bytes=6, duration=2000)
    region.wait(1.0)
    assert body(wire) == b"one-tw"
    region.wait(1.25)
    assert body(wire)[:8] == b"one-two-"
    region.wait(0.2)
    assert (body(wire), ended(region)) == (BODY, "complete")
    region.close()


def test_a_stall_without_a_duration_is_ended_by_the_client() -> None:
    region, wire = ask("stall_stream", after_bytes=4)
    region.wait(1000.0)
    assert (body(wire), wire.end) == (b"one-", "")
    assert region.instance.streams
    wire.transport.loseConnection()
    region.wait(0.1)
    assert ended(region) == "client_closed"
    region.close()


@pytest.mark.parametrize(("reset", "end"), [(False, "ConnectionDone"), (True, "ConnectionLost")])
@pytest.mark.parametrize("after_bytes", [0, 4, 6])
def test_cut_stream_sends_exactly_the_given_number_of_bytes(after_bytes: int, reset: bool, end: str) -> None:  # noqa: FBT001
    region, wire = ask("cut_stream", after_bytes=after_bytes, reset=reset)
    region.wait(1.0)
    assert wire.status == 200
    assert (body(wire), wire.end) == (BODY[:after_bytes], end)
    assert (ended(region), region.instance.workers.busy) == ("cut", 0)
    assert not region.world.journal.rows[-1].is_good
    region.close()


def test_cut_stream_beyond_the_end_has_no_effect() -> None:
    region, wire = ask("cut_stream", after_bytes=100)
    region.wait(1.0)
    assert (body(wire), wire.end, ended(region)) == (BODY, "", "complete")
    region.close()


def test_garble_stream_changes_the_body_at_its_position() -> None:
    region, wire = ask("garble_stream", after_bytes=3, bytes=3)
    region.wait(1.0)
    assert [at for at in range(len(BODY)) if body(wire)[at] != BODY[at]] == [3, 4, 5]
    assert chunks(wire)[-1] == b""
    region.close()


def test_garble_stream_breaks_the_framing_at_its_position() -> None:
    region, wire = ask("garble_stream", after_bytes=4, where="framing")
    region.wait(1.0)
    assert wire.body.startswith(b"4\r\none-\r\nnot-a-size\r\n4\r\ntwo-")
    region.close()


def test_slow_first_byte_delays_the_body_and_not_the_head() -> None:
    region, wire = ask("slow_first_byte", delay=2000)
    region.wait(2.0)
    assert (wire.status, wire.body) == (200, b"")
    region.wait(0.2)
    assert body(wire) == b"one-"
    region.wait(0.3)
    assert body(wire) == BODY
    assert region.world.journal.rows[-1].first_byte_s == pytest.approx(2.1, abs=0.05)
    region.close()


def test_latency_delays_the_head() -> None:
    region, wire = ask("latency", latency=1000)
    region.wait(0.9)
    assert wire.received == b""
    region.wait(1.0)
    assert body(wire) == BODY
    region.close()


def test_bandwidth_limits_head_and_body() -> None:
    region, wire = ask("bandwidth", rate=0.1)
    region.wait(1.0)
    assert 0 < len(wire.received) <= 110
    region.wait(5.0)
    assert body(wire) == BODY
    region.close()


def test_slicer_splits_chunks_into_segments() -> None:
    region, wire = ask("slicer", average_size=1, delay=100_000)
    region.wait(1.0)
    assert 5 <= len(wire.received) <= 15
    region.wait(30.0)
    assert body(wire) == BODY
    region.close()


def test_limit_data_counts_the_head() -> None:
    region, wire = ask("limit_data", bytes=20, reset=True)
    region.wait(1.0)
    assert (len(wire.received), wire.end, ended(region)) == (20, "ConnectionLost", "cut")
    region.close()


def test_reset_peer_in_the_body_is_after_the_first_chunk() -> None:
    region, wire = ask("reset_peer", at="body", timeout=500)
    region.wait(0.3)
    assert (body(wire), wire.end) == (b"one-", "")
    region.wait(0.5)
    assert (body(wire), wire.end) == (b"one-", "ConnectionLost")
    region.close()


@pytest.mark.parametrize(("keep", "left"), [(None, b"one-"), (6, b"one-tw")])
def test_truncate_body_ends_cleanly(keep: int | None, left: bytes) -> None:
    region, wire = ask("truncate_body", keep=keep)
    region.wait(1.0)
    assert (body(wire), chunks(wire)[-1], wire.end) == (left, b"", "")
    region.close()


def test_garble_body_changes_the_given_number_of_bytes() -> None:
    region, wire = ask("garble_body", bytes=2)
    region.wait(1.0)
    assert sum(a != b for a, b in zip(body(wire), BODY, strict=True)) == 2
    region.close()


def test_slow_close_has_connection_close_and_closes_late() -> None:
    region, wire = ask("slow_close", delay=2000)
    region.wait(2.0)
    assert (body(wire), wire.headers["connection"], wire.end) == (BODY, "close", "")
    region.wait(1.0)
    assert wire.end == "ConnectionDone"
    region.close()


def test_close_idle_closes_an_idle_connection() -> None:
    region, wire = ask("close_idle", idle=1000)
    region.wait(1.0)
    assert (body(wire), wire.end) == (BODY, "")
    region.wait(1.0)
    assert wire.end == "ConnectionDone"
    region.close()


@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_stream_is_invalid_http(how: str) -> None:
    region, wire = ask("malformed_response", how=how)
    region.wait(2.0)
    assert wire.received
    good = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    normal = wire.received.startswith(good) and wire.received.endswith(b"5\r\nthree\r\n0\r\n\r\n")
    assert not (normal and b"not-a-size" not in wire.received)
    assert bool(wire.end) is (how not in ("informational", "unsolicited"))
    region.close()


def test_several_faults_are_combined() -> None:
    region = Region(ServiceSpec("echo", 1, processor=three))
    for type_, attributes in {"cut_stream": {"after_bytes": 8}, "slow_first_byte": {"delay": 500}}.items():
        region.world.faults.add(Fault(type_, Target("echo"), attributes))
    wire = region.ask()
    region.wait(0.55)
    assert wire.body == b""
    region.wait(1.0)
    assert (body(wire), wire.end) == (b"one-two-", "ConnectionDone")
    region.close()


WITHOUT_EFFECT = {"wrong_content_length": "a stream has no Content-Length"}
"""The response faults that do not change streams, each with the reason."""
ON_RESPONSES: dict[str, dict[str, Any]] = {"reset_peer": {"at": "body"}}
"""Attributes with which a fault changes the response, for faults whose default attributes do not change it."""


def fault_of(type_: str) -> Fault:
    return Fault(type_, Target("echo"), ON_RESPONSES.get(type_, {}))


def stream_under(*faults: Fault) -> tuple[bytes, int, float, str, float | None]:
    """Return what a client receives under the faults.

    Returns:
        The bytes, the number of segments, the time of the last segment, and the reason and the time of the connection's
        end; an empty string and `None` if the connection is still open.
    """
    region = Region(ServiceSpec("echo", 1, processor=three))
    for fault in faults:
        region.world.faults.add(fault)
    wire = region.ask()
    region.wait(60.0)
    found = wire.received, wire.segments, wire.at_s, wire.end, getattr(wire, "ended_at_s", None)
    region.close()
    return found


@pytest.mark.parametrize("type_", [name for name in ON_INSTANCES if is_response_fault(fault_of(name))])
def test_a_response_fault_changes_streams_or_is_listed_with_a_reason(type_: str) -> None:
    has_effect = stream_under(fault_of(type_)) != stream_under()
    if type_ in WITHOUT_EFFECT:
        assert not has_effect, f"{type_} changes streams, so remove it from WITHOUT_EFFECT in this file"
    else:
        assert has_effect, (
            f"{type_} changes responses that are sent as a whole, but not streams: add it to _BODY_STEPS, _WIRE_STEPS "
            "or _ON_PLANS in simulator/response_faults.py, or to WITHOUT_EFFECT in this file with the reason"
        )


@pytest.mark.parametrize("type_", [name for name in ON_INSTANCES if name != "refuse"])
def test_no_fault_leaves_a_timer_or_connection(type_: str) -> None:
    region, _ = ask(type_)
    region.wait(60.0)
    region.close()
    assert region.instance.workers.busy == 0
