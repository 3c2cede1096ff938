"""The event stream: initial state, changes, sampling of requests, and resuming."""

from __future__ import annotations

import pytest

from simulator.admin.events import MAX_CHANGES, MAX_STREAMS
from tests.simulator.world import Listener, World


@pytest.fixture
def world() -> World:
    return World()


def names(listener: Listener) -> list[str]:
    return [event for event, _, _ in listener.events()]


def test_a_stream_begins_with_the_complete_state(world: World) -> None:
    listener = world.listen()
    head = listener.transport.value().partition(b"\r\n\r\n")[0]
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    (state, at, value), (tick, _, counts) = listener.events()
    assert (state, tick) == ("state", "tick")
    assert [service["name"] for service in value["services"]] == ["echo", "group/rank"]
    assert counts["instances"]["echo-0"] == [0, 0, 0, 0, 0]
    assert at.count(".") == 2


def test_changes_are_sent_as_events_whatever_their_source(world: World) -> None:
    listener = world.listen()
    listener.events()
    world.ask("PATCH", "/v1/services/echo/instances/echo-1", {"state": "crashed"})
    world.simulator.services["echo"].instances["echo-0"].weight = 7
    world.ask("POST", "/v1/faults", {"name": "f", "type": "latency", "target": {"service": "echo"}})
    world.clock.advance(0.1)
    told = {(event, value.get("id") or value.get("name")): value for event, _, value in listener.events()}
    assert told["instance", "echo-1"]["state"] == "crashed"
    assert told["instance", "echo-0"]["weight"] == 7
    assert told["fault", "f"]["type"] == "latency"
    world.ask("DELETE", "/v1/faults/f")
    world.ask("DELETE", "/v1/services/echo/instances/echo-1")
    world.clock.advance(0.1)
    assert names(listener) == ["instance_gone", "fault_gone"]
    world.clock.advance(0.1)
    assert names(listener) == []


def test_a_tick_is_sent_each_second(world: World) -> None:
    listener = world.listen()
    listener.events()
    world.row(status=500)
    world.clock.pump([0.1] * 10)
    ((_, _, tick),) = [told for told in listener.events() if told[0] == "tick"]
    assert (tick["total"], tick["failures"], tick["instances"]["echo-0"]) == (1, 1, [1, 1, 0, 0, 0])


def test_events_have_discovery_replies_as_they_were_served(world: World) -> None:
    replies = world.simulator.control_plane.replies
    listener = world.listen()
    listener.events()
    replies.note(0.0, "echo", "/x", "timeout", None)
    world.clock.advance(0.1)
    ((event, _, told),) = listener.events()
    assert (event, told["service"], told["answer"], told["status"]) == ("discovery", "echo", "timeout", 0)


def test_requests_are_sampled_with_the_failed_ones_first(world: World) -> None:
    listener = world.listen("?rate=20")
    world.clock.advance(0.1)
    listener.events()
    for number in range(1000):
        world.row(status=503 if number in (300, 700) else 200)
    world.clock.advance(0.1)
    told = [value for event, _, value in listener.events() if event == "request"]
    numbers = [value["number"] for value in told]
    assert len(told) == 20
    assert numbers == sorted(numbers)
    assert {301, 701} <= set(numbers)
    world.row()
    world.clock.advance(0.1)
    assert names(listener) == ["request"]


def test_no_requests_are_sent_with_a_rate_of_0(world: World) -> None:
    listener = world.listen("?rate=0")
    listener.events()
    world.row()
    world.clock.advance(0.1)
    assert names(listener) == []
    assert world.ask("GET", "/v1/events?rate=-1")[0] == 400
    assert world.ask("GET", "/v1/events?rate=9999")[0] == 400


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_stream_resumes_after_the_last_event(world: World, how: str) -> None:
    listener = world.listen()
    world.row()
    world.clock.advance(0.1)
    last = listener.events()[-1][1]
    listener.answer.cancel()
    world.row(status=450)
    world.ask("PATCH", "/v1/services/echo/instances/echo-1", {"state": "hung"})
    back = world.listen(last=last) if how == "header" else world.listen(f"?last_event_id={last}")
    told = back.events()
    assert [event for event, _, _ in told] == ["instance", "request", "tick"]
    assert told[1][2]["status"] == 450


@pytest.mark.parametrize("last", ["1.2", "ffff.0.0", "x.y.z", "0.99999.0"])
def test_a_stream_with_an_unknown_last_event_id_begins_with_the_state(world: World, last: str) -> None:
    assert names(world.listen(last=last)) == ["state", "tick"]


def test_a_stream_that_is_too_far_behind_begins_with_the_state(world: World) -> None:
    listener = world.listen()
    last = listener.events()[-1][1]
    instance = world.simulator.services["echo"].instances["echo-0"]
    for weight in range(MAX_CHANGES + 1):
        instance.weight = weight
        world.simulator.admin.hub.watch.look()
    assert len(world.simulator.admin.hub.watch.changes) == MAX_CHANGES
    assert names(world.listen(last=last)) == ["state", "tick"]


def test_a_reset_is_sent_as_a_new_state(world: World) -> None:
    listener = world.listen()
    world.row()
    world.row()
    world.clock.advance(0.1)
    listener.events()
    world.ask("POST", "/v1/reset", {"seed": 9})
    world.clock.advance(0.1)
    ((event, _, state),) = listener.events()
    assert (event, state["seed"], state["requests"]["total"]) == ("state", 9, 0)
    world.row()
    world.clock.advance(0.1)
    ((event, _, row),) = listener.events()
    assert (event, row["number"]) == ("request", 1)


def test_numbers_of_requests_begin_at_1_after_the_journal_was_emptied(world: World) -> None:
    listener = world.listen()
    world.row()
    world.row()
    world.clock.advance(0.1)
    listener.events()
    world.ask("DELETE", "/v1/requests")
    world.row(status=450)
    world.clock.advance(0.1)
    ((event, _, row),) = listener.events()
    assert (event, row["number"], row["status"]) == ("request", 1, 450)


def test_a_slow_reader_misses_requests_but_no_changes(world: World) -> None:
    listener = world.listen()
    listener.events()
    stream = next(iter(world.simulator.admin.hub.streams))
    stream.pauseProducing()
    world.ask("PATCH", "/v1/services/echo/instances/echo-1", {"state": "hung"})
    world.clock.pump([0.1] * 30)
    assert listener.transport.value() == b""
    stream.resumeProducing()
    world.clock.advance(0.1)
    assert names(listener) == ["instance"]


def test_without_a_listener_no_timer_runs(world: World) -> None:
    one, other = world.listen(), world.listen()
    one.answer.cancel()
    assert len(world.clock.getDelayedCalls()) == 1
    other.answer.cancel()
    assert world.clock.getDelayedCalls() == []
    assert world.simulator.admin.hub.streams == {}


def test_streams_are_bounded(world: World) -> None:
    for _ in range(MAX_STREAMS):
        world.listen()
    assert world.ask("GET", "/v1/events")[0] == 503
