"""Instances behave as those of EAS do: workers, queue, limits of time and rate, graceful termination."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from simulator import Fault, ServiceSpec, Target
from simulator.service_spec import SpecError
from tests.simulator.raw import request
from tests.simulator.region import Region


def test_five_workers_a_queue_of_64_and_450_beyond() -> None:
    """Of 70 concurrent requests, 69 are accepted and get responses in order, five a second. One gets status 450."""
    region = Region(processing=1.0, keepalive_s=0)
    wires = [region.ask(b"%d" % number) for number in range(70)]
    region.wait(0.1)
    assert wires[-1].status == 450
    assert [bool(wire.received) for wire in wires[:-1]] == [False] * 69
    region.wait(0.5)
    assert [bool(wire.received) for wire in wires[:6]] == [True] * 5 + [False]
    region.wait(1.0)
    assert [bool(wire.received) for wire in wires[:11]] == [True] * 10 + [False]
    region.wait(14.0)
    assert [(wire.status, wire.body) for wire in wires[:69]] == [(200, b"%d" % number) for number in range(69)]
    region.close()


def test_processing_time_is_drawn_from_the_seed() -> None:
    """Processing times vary around the median. The same seed gives the same times."""
    runs = []
    for _ in range(2):
        region = Region(processing={"distribution": "lognormal", "median_s": 0.1, "p99_s": 0.4})
        took = []
        for _ in range(50):
            wire = region.ask()
            began = region.scheduler.seconds()
            region.wait(2.0)
            took.append(round(wire.at_s - began, 6))
        runs.append(took)
        region.close()
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 40
    assert 0.07 < sorted(runs[0])[25] < 0.14


@pytest.mark.parametrize("keepalive_s", [5.0, 1.0])
def test_the_time_limit_is_408_and_closes_the_connection(keepalive_s: float) -> None:
    region = Region(workers=1, queue=1, processing=keepalive_s + 2, keepalive_s=keepalive_s)
    began = region.scheduler.seconds()
    computing, queued = region.ask(), region.ask()
    region.wait(keepalive_s + 0.1)
    assert [wire.status for wire in (computing, queued)] == [408, 408]
    assert computing.at_s - began == pytest.approx(keepalive_s, abs=0.03)
    assert computing.headers["connection"] == "close"
    assert computing.end == "ConnectionDone"
    # The queued request has left the queue. The worker is still busy with the first request.
    third = region.ask()
    region.wait(0.1)
    assert (region.instance.workers.busy, region.instance.workers.waiting) == (1, 1)
    region.wait(20.0)
    assert (region.instance.workers.busy, region.instance.workers.waiting) == (0, 0)
    assert third.status == 408
    region.close()


def test_a_fast_response_leaves_no_timer() -> None:
    region = Region(processing=0.1)
    wire = region.ask()
    region.wait(0.3)
    assert wire.status == 200
    assert not [event for event in region.scheduler.pending if "expire" in repr(event)]
    assert wire.send(request(b"again")).end == ""
    region.wait(10.0)
    assert wire.received.endswith(b"again")
    region.close()


def test_the_rate_limit_is_429_with_retry_after() -> None:
    """A burst of as many requests as the limit allows in a second is accepted. Later requests are limited."""
    region = Region(rate_limit=2)
    wires = [region.ask() for _ in range(4)]
    region.wait(0.01)
    assert [wire.status for wire in wires] == [200, 200, 429, 429]
    assert wires[2].headers["retry-after"] == "1"
    region.wait(0.5)
    wires = [region.ask(), region.ask()]
    region.wait(0.01)
    assert [wire.status for wire in wires] == [200, 429]
    region.close()


def test_a_request_whose_client_disconnects_is_499_and_leaves_the_queue() -> None:
    region = Region(workers=1, queue=1, processing=1.0)
    first, second = region.ask(), region.ask()
    region.wait(0.1)
    assert region.instance.workers.waiting == 1
    second.transport.abortConnection()
    region.wait(0.1)
    assert region.instance.workers.waiting == 0
    assert region.rows == [("echo-0", 499)]
    region.wait(1.0)
    assert first.status == 200
    region.close()


def test_an_instance_that_terminates_finishes_accepted_requests() -> None:
    """The instance leaves the list immediately, refuses new connections, and ends after its last response."""
    region = Region(instances=2, processing=4.0)
    idle, busy = region.connect(), region.ask()
    region.wait(0.1)
    port = region.instance.port
    region.service.terminate("echo-0")
    region.wait(0.1)
    assert [row["port"] for row in region.discover("echo")] == [region.service.instances["echo-1"].port]
    assert idle.end == "ConnectionDone"
    assert region.connect(port).end == "ConnectionRefusedError"
    assert "echo-0" in region.service.instances
    region.wait(4.0)
    assert (busy.status, busy.headers["connection"], busy.end) == (200, "close", "ConnectionDone")
    assert list(region.service.instances) == ["echo-1"]
    region.wait(30.0)
    region.close()


def test_an_instance_ends_after_the_grace_period() -> None:
    """After 30 s the instance ends, and connections with unfinished requests are reset."""
    region = Region(instances=2, processing=100.0, keepalive_s=0)
    wire = region.ask()
    region.wait(0.1)
    region.service.terminate("echo-0")
    region.wait(29.9)
    assert (wire.end, list(region.service.instances)) == ("", ["echo-0", "echo-1"])
    region.wait(0.2)
    assert (wire.end, list(region.service.instances)) == ("ConnectionLost", ["echo-1"])
    region.close()


def test_a_reset_cancels_the_termination_of_an_instance() -> None:
    region = Region(instances=1, processing=100.0, keepalive_s=0)
    region.ask()
    region.service.terminate("echo-0")
    region.world.reset()
    region.wait(40.0)
    assert [instance.state for instance in region.service.instances.values()] == ["running"]
    assert len(region.discover("echo")) == 1
    region.close()


def test_a_hang_delays_the_responses_to_requests_in_progress() -> None:
    region = Region(processing=1.0)
    wire = region.ask(b"before")
    region.wait(0.5)
    region.instance.hang()
    region.wait(1.0)
    wire.send(request(b"meanwhile"))
    region.wait(1.0)
    assert wire.received == b""
    region.instance.resume()
    region.wait(3.0)
    assert wire.received.index(b"before") < wire.received.index(b"meanwhile")
    region.close()


@pytest.mark.parametrize("state", ["hung", "running"])
def test_a_crash_ends_all_requests_in_progress(state: str) -> None:
    region = Region(workers=1, processing=1.0)
    wires = [region.ask(), region.ask()]
    if state == "hung":
        region.instance.hang()
        wires.append(region.ask())
    region.wait(0.1)
    port = region.instance.port
    region.instance.crash()
    region.wait(0.1)
    assert {wire.end for wire in wires} == {"ConnectionLost"}
    assert region.rows == [("echo-0", 0)] * len(wires)
    assert region.connect(port).end == "ConnectionRefusedError"
    region.instance.restart()
    wire = region.ask(b"hello", port=port)
    region.wait(1.1)
    assert wire.body == b"hello"
    region.close()


def test_a_draining_instance_announces_the_close() -> None:
    region = Region(processing=0.5)
    wire = region.ask()
    region.wait(0.1)
    region.instance.drain()
    region.wait(1.0)
    assert (wire.status, wire.headers["connection"], wire.end) == (200, "close", "ConnectionDone")
    assert len(region.discover("echo")) == 3
    region.close()


def test_an_idle_connection_that_is_used_in_time_is_kept() -> None:
    region = Region()
    region.world.faults.add(Fault("close_idle", Target("echo"), {"idle": 300}, times=1))
    wire = region.ask(b"first")
    region.wait(0.2)
    wire.send(request(b"second"))
    region.wait(0.2)
    assert (wire.end, wire.received[-6:]) == ("", b"second")
    region.wait(1.0)
    assert wire.end == ""
    region.close()


@pytest.mark.parametrize(
    ("type_", "attributes"), [("close_idle", {"idle": 300}), ("reset_peer", {"at": "accept", "timeout": 300})]
)
def test_the_timers_of_a_connection_are_cancelled_when_it_is_closed(type_: str, attributes: dict[str, Any]) -> None:
    region = Region()
    region.world.faults.add(Fault(type_, Target("echo"), attributes))
    wire = region.ask()
    region.wait(0.1)
    wire.transport.loseConnection()
    region.wait(0.1)
    assert not region.scheduler.pending
    region.wait(1.0)
    region.close()


def test_slowness_multiplies_the_work() -> None:
    """The time is ten times 0.1 s, plus 1 s."""
    region = Region(processing=0.1)
    region.fault("slow", factor=10, extra=1000)
    wire = region.ask()
    began = region.scheduler.seconds()
    region.wait(3.0)
    assert wire.at_s - began == pytest.approx(2.0, abs=0.02)
    region.close()


def test_the_long_tail_of_a_latency() -> None:
    """Most delays are short, and a few are much longer. The mean is about 0.1 s."""
    region = Region(workers=100)
    region.fault("latency", on="echo-0", tail=100)
    wires, began = [], []
    for _ in range(200):
        wires.append(region.ask())
        began.append(region.scheduler.seconds())
    region.wait(5.0)
    took = sorted(wire.at_s - start for wire, start in zip(wires, began, strict=True))
    assert took[20] < 0.03
    assert took[-1] > 0.3
    assert 0.08 < sum(took) / 200 < 0.12
    region.close()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (lambda body: body.decode(), 200, b"x"),
        (bytearray, 200, b"x"),
        (lambda _: 5, 500, b"the processor answered a int, not bytes or text"),
        (lambda _: {}["gone"], 400, b"'gone'"),
        (lambda _: iter(()).throw(), 400, b"'tuple_iterator' object has no attribute 'throw'"),
    ],
)
def test_results_of_a_processor(answer: Any, status: int, body: bytes) -> None:
    """Results are bytes or text. An exception is status 400 with its text. A result of another type is status 500."""
    region = Region(ServiceSpec("mine", processor=answer))
    for _ in range(2):
        wire = region.ask()
        region.wait(0.1)
        assert (wire.status, wire.body) == (status, body)
    region.close()


def test_a_worker_is_busy_until_the_deferred_or_coroutine_ends() -> None:
    """If the Deferred or the coroutine fails, the status is 400."""
    waiting: list[Deferred[bytes]] = []

    def ask_later(_: bytes) -> Deferred[bytes]:
        waiting.append(Deferred())
        return waiting[-1]

    async def ask_twice(body: bytes) -> bytes:
        return await ask_later(body) + await ask_later(body)

    region = Region(ServiceSpec("mine", processor=ask_twice, workers=1, queue=1))
    first, second, third = region.ask(), region.ask(), region.ask()
    region.wait(0.1)
    assert third.status == 450
    waiting[0].callback(b"a")
    waiting[1].callback(b"b")
    region.wait(0.1)
    assert first.body == b"ab"
    waiting[2].errback(KeyError("boom"))
    region.wait(0.1)
    assert (second.status, second.body) == (400, b"'boom'")
    region.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 0}, "workers must be a whole number from 1"),
        ({"queue": -1}, "queue must be a whole number from 0"),
        ({"queue": 1.5}, "queue must be a whole number"),
        ({"rate_limit": 0}, "rate_limit must be a number from 0.001"),
        ({"keepalive_s": "5"}, "keepalive_s must be a number"),
        ({"processing": "normal:1,2"}, "processing: distribution: expected one of"),
        ({"processing": -1}, "processing: value_s: expected a number ≥ 0"),
        ({"zones": "ab"}, "zones must be a list of names"),
        ({"zones": [""]}, "zones must be a list of names"),
        ({"weights": 5}, "weights must be a list of numbers"),
        ({"weights": [1, 2, 3, 4]}, "4 weights for 3 instances"),
        ({"token": 5}, "token must be a string of visible ASCII"),
    ],
)
def test_a_bad_specification_says_what_is_wrong(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        ServiceSpec("s", **options)


@pytest.mark.parametrize("token", ["ключ", "täglich", "•••", "\ud800", "a\nb", "a\x7f", " s3cret", "s3cret\t"])
def test_a_token_that_no_request_can_carry_is_refused(token: str) -> None:
    """Clients send visible ASCII only, and blanks at the ends of a header field are removed (RFC 9110 §5.5)."""
    with pytest.raises(SpecError) as caught:
        ServiceSpec("s", token=token)
    assert str(caught.value).startswith("service s: token must be a string of visible ASCII")
    assert token not in str(caught.value)
