"""Instances behave like EAS ones: workers and queue, limits of time and rate, graceful termination."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from simulator import Fault, ServiceSpec, Target
from simulator.service_spec import SpecError
from tests.simulator.raw import request
from tests.simulator.room import Room


def test_five_workers_a_queue_of_64_and_450_beyond() -> None:
    """The defaults: of 70 requests at once 69 are taken, five are answered a second, in order; one is refused."""
    room = Room(processing=1.0, keepalive_s=0)
    wires = [room.ask(b"%d" % number) for number in range(70)]
    room.wait(0.1)
    assert wires[-1].status == 450
    assert [bool(wire.received) for wire in wires[:-1]] == [False] * 69
    room.wait(0.5)
    assert [bool(wire.received) for wire in wires[:6]] == [True] * 5 + [False]
    room.wait(1.0)
    assert [bool(wire.received) for wire in wires[:11]] == [True] * 10 + [False]
    room.wait(14.0)
    assert [(wire.status, wire.body) for wire in wires[:69]] == [(200, b"%d" % number) for number in range(69)]
    room.close()


def test_processing_time_is_drawn_from_the_seed() -> None:
    """About the median, never the same, and the same again from the same seed."""
    runs = []
    for _ in range(2):
        room = Room(processing={"distribution": "lognormal", "median_s": 0.1, "p99_s": 0.4})
        took = []
        for _ in range(50):
            wire = room.ask()
            began = room.scheduler.seconds()
            room.wait(2.0)
            took.append(round(wire.at_s - began, 6))
        runs.append(took)
        room.close()
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 40
    assert 0.07 < sorted(runs[0])[25] < 0.14


@pytest.mark.parametrize("keepalive_s", [5.0, 1.0])
def test_the_time_limit_is_408_and_closes_the_connection(keepalive_s: float) -> None:
    """At the limit, to the millisecond; the worker goes on, as the real one does."""
    room = Room(workers=1, queue=1, processing=keepalive_s + 2, keepalive_s=keepalive_s)
    began = room.scheduler.seconds()
    computing, queued = room.ask(), room.ask()
    room.wait(keepalive_s + 0.1)
    assert [wire.status for wire in (computing, queued)] == [408, 408]
    assert computing.at_s - began == pytest.approx(keepalive_s, abs=0.03)
    assert computing.headers["connection"] == "close"
    assert computing.end == "ConnectionDone"
    # The queued one has left the queue; the worker is still busy with the first.
    third = room.ask()
    room.wait(0.1)
    assert (room.instance.workers.busy, room.instance.workers.waiting) == (1, 1)
    room.wait(20.0)
    assert (room.instance.workers.busy, room.instance.workers.waiting) == (0, 0)
    assert third.status == 408
    room.close()


def test_a_quick_answer_leaves_no_timer() -> None:
    """The limit is forgotten with the answer; connections are kept."""
    room = Room(processing=0.1)
    wire = room.ask()
    room.wait(0.3)
    assert wire.status == 200
    assert not [event for event in room.scheduler.pending if "expire" in repr(event)]
    assert wire.send(request(b"again")).end == ""
    room.wait(10.0)
    assert wire.received.endswith(b"again")
    room.close()


def test_the_rate_limit_is_429_with_retry_after() -> None:
    """A burst of one second's worth, then one request for each token."""
    room = Room(rate_limit=2)
    wires = [room.ask() for _ in range(4)]
    room.wait(0.01)
    assert [wire.status for wire in wires] == [200, 200, 429, 429]
    assert wires[2].headers["retry-after"] == "1"
    room.wait(0.5)
    wires = [room.ask(), room.ask()]
    room.wait(0.01)
    assert [wire.status for wire in wires] == [200, 429]
    room.close()


def test_what_a_client_leaves_is_499_and_gives_its_place_in_the_queue_back() -> None:
    """As the real server's log has it."""
    room = Room(workers=1, queue=1, processing=1.0)
    first, second = room.ask(), room.ask()
    room.wait(0.1)
    assert room.instance.workers.waiting == 1
    second.transport.abortConnection()
    room.wait(0.1)
    assert room.instance.workers.waiting == 0
    assert room.rows == [("echo-0", 499)]
    room.wait(1.0)
    assert first.status == 200
    room.close()


def test_graceful_termination() -> None:
    """Off the list at once; idle connections close, new ones are refused, what was accepted is answered; then gone."""
    room = Room(instances=2, processing=4.0)
    idle, busy = room.connect(), room.ask()
    room.wait(0.1)
    port = room.instance.port
    room.service.terminate("echo-0")
    room.wait(0.1)
    assert [row["port"] for row in room.discover("echo")] == [room.service.instances["echo-1"].port]
    assert idle.end == "ConnectionDone"
    assert room.connect(port).end == "ConnectionRefusedError"
    assert "echo-0" in room.service.instances
    room.wait(4.0)
    assert (busy.status, busy.headers["connection"], busy.end) == (200, "close", "ConnectionDone")
    assert list(room.service.instances) == ["echo-1"]
    room.wait(30.0)
    room.close()


def test_termination_has_a_grace_and_no_more() -> None:
    """After 30 s the instance ends, and what is unfinished is reset."""
    room = Room(instances=2, processing=100.0, keepalive_s=0)
    wire = room.ask()
    room.wait(0.1)
    room.service.terminate("echo-0")
    room.wait(29.9)
    assert (wire.end, list(room.service.instances)) == ("", ["echo-0", "echo-1"])
    room.wait(0.2)
    assert (wire.end, list(room.service.instances)) == ("ConnectionLost", ["echo-1"])
    room.close()


def test_an_instance_that_is_restarted_meanwhile_is_not_ended() -> None:
    """A reset takes the termination back."""
    room = Room(instances=1, processing=100.0, keepalive_s=0)
    room.ask()
    room.service.terminate("echo-0")
    room.world.reset()
    room.wait(40.0)
    assert [instance.state for instance in room.service.instances.values()] == ["running"]
    assert len(room.discover("echo")) == 1
    room.close()


def test_a_hang_holds_back_what_is_being_computed_too() -> None:
    """Nothing comes out until it goes on; then all of it, in order."""
    room = Room(processing=1.0)
    wire = room.ask(b"before")
    room.wait(0.5)
    room.instance.hang()
    room.wait(1.0)
    wire.send(request(b"meanwhile"))
    room.wait(1.0)
    assert wire.received == b""
    room.instance.resume()
    room.wait(3.0)
    assert wire.received.index(b"before") < wire.received.index(b"meanwhile")
    room.close()


@pytest.mark.parametrize("state", ["hung", "running"])
def test_a_crash_ends_everything_that_had_begun(state: str) -> None:
    """Connections are reset, workers are free, rows say that there was no answer; it restarts on the same port."""
    room = Room(workers=1, processing=1.0)
    wires = [room.ask(), room.ask()]
    if state == "hung":
        room.instance.hang()
        wires.append(room.ask())
    room.wait(0.1)
    port = room.instance.port
    room.instance.crash()
    room.wait(0.1)
    assert {wire.end for wire in wires} == {"ConnectionLost"}
    assert room.rows == [("echo-0", 0)] * len(wires)
    assert room.connect(port).end == "ConnectionRefusedError"
    room.instance.restart()
    wire = room.ask(b"hello", port=port)
    room.wait(1.1)
    assert wire.body == b"hello"
    room.close()


def test_a_draining_instance_announces_the_close() -> None:
    """A busy connection is answered, and closed with that; discovery still tells of it."""
    room = Room(processing=0.5)
    wire = room.ask()
    room.wait(0.1)
    room.instance.drain()
    room.wait(1.0)
    assert (wire.status, wire.headers["connection"], wire.end) == (200, "close", "ConnectionDone")
    assert len(room.discover("echo")) == 3
    room.close()


def test_an_idle_connection_that_is_used_in_time_lives_on() -> None:
    """The end is due 0.3 s after an answer that struck, and a request takes it back."""
    room = Room()
    room.world.faults.add(Fault("close_idle", Target("echo"), {"idle": 300}, times=1))
    wire = room.ask(b"first")
    room.wait(0.2)
    wire.send(request(b"second"))
    room.wait(0.2)
    assert (wire.end, wire.received[-6:]) == ("", b"second")
    room.wait(1.0)
    assert wire.end == ""
    room.close()


@pytest.mark.parametrize(
    ("type_", "attributes"), [("close_idle", {"idle": 300}), ("reset_peer", {"at": "accept", "timeout": 300})]
)
def test_what_was_due_on_a_connection_ends_with_it(type_: str, attributes: dict[str, Any]) -> None:
    """The client leaves first, and no timer is left behind."""
    room = Room()
    room.world.faults.add(Fault(type_, Target("echo"), attributes))
    wire = room.ask()
    room.wait(0.1)
    wire.transport.loseConnection()
    room.wait(0.1)
    assert not room.scheduler.pending
    room.wait(1.0)
    room.close()


def test_slowness_multiplies_the_work() -> None:
    """Ten times 0.1 s and a second more."""
    room = Room(processing=0.1)
    room.fault("slow", factor=10, extra=1000)
    wire = room.ask()
    began = room.scheduler.seconds()
    room.wait(3.0)
    assert wire.at_s - began == pytest.approx(2.0, abs=0.02)
    room.close()


def test_the_long_tail_of_a_latency() -> None:
    """Most are quick, a few are much later; their mean is the tail's."""
    room = Room(workers=100)
    room.fault("latency", on="echo-0", tail=100)
    wires, began = [], []
    for _ in range(200):
        wires.append(room.ask())
        began.append(room.scheduler.seconds())
    room.wait(5.0)
    took = sorted(wire.at_s - start for wire, start in zip(wires, began, strict=True))
    assert took[20] < 0.03
    assert took[-1] > 0.3
    assert 0.08 < sum(took) / 200 < 0.12
    room.close()


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
def test_what_a_processor_may_answer(answer: Any, status: int, body: bytes) -> None:
    """Bytes or text; what it raises is a 400 with the exception's text, and the instance lives on."""
    room = Room(ServiceSpec("mine", processor=answer))
    for _ in range(2):
        wire = room.ask()
        room.wait(0.1)
        assert (wire.status, wire.body) == (status, body)
    room.close()


def test_deferreds_and_coroutines_hold_their_worker() -> None:
    """Until they fire; a failure is a 400."""
    waiting: list[Deferred[bytes]] = []

    def ask_later(_: bytes) -> Deferred[bytes]:
        waiting.append(Deferred())
        return waiting[-1]

    async def ask_twice(body: bytes) -> bytes:
        return await ask_later(body) + await ask_later(body)

    room = Room(ServiceSpec("mine", processor=ask_twice, workers=1, queue=1))
    first, second, third = room.ask(), room.ask(), room.ask()
    room.wait(0.1)
    assert third.status == 450
    waiting[0].callback(b"a")
    waiting[1].callback(b"b")
    room.wait(0.1)
    assert first.body == b"ab"
    waiting[2].errback(KeyError("boom"))
    room.wait(0.1)
    assert (second.status, second.body) == (400, b"'boom'")
    room.close()


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
        ({"token": 5}, "token must be a string"),
        ({"token": "\ud800"}, "token must be a string"),
    ],
)
def test_a_bad_specification_says_what_is_wrong(options: dict[str, Any], says: str) -> None:
    """By name, with what was expected."""
    with pytest.raises(SpecError, match=says):
        ServiceSpec("s", **options)
