"""Whatever raises while a new list is taken over, calls go on, and the next poll takes it over.

Through the whole client: discovery replies on puppet connections. A new boundary is one row of `BOUNDARIES`.
"""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient
from eas_tw.telemetry.events import ListChanged, PollRefused
from tests.net.calling import Result, response, says
from tests.net.fleet import PuppetReactor
from tests.net.traps import Trap, thrower

BOUNDARIES = [
    "eas_tw.session.Session._got_list",
    "eas_tw.session.Session._take_over",
    "eas_tw.net.upstream.Upstream.apply",
    "eas_tw.net.upstream.Pools.hold",
    "eas_tw.net.pool.Pool.retire",
    "eas_tw.policy.cluster.Cluster.apply",
    "eas_tw.policy.health.Health.set_fleet",
    "eas_tw.policy.load.Loads.forget",
    "eas_tw.policy.rotation.Rotation.add",
    "eas_tw.policy.rotation.Rotation.remove",
    "eas_tw.policy.rotation._Turn.join",
    "eas_tw.policy.slow_start.SlowStart.begin",
    "eas_tw.policy.slow_start.SlowStart.forget",
    "eas_tw.policy.subset.Subset.set_fleet",
    "eas_tw.telemetry.record.Record.list_changed",
]
CONTROL = "10.9.9.9"
FIRST = [("10.0.0.1", 1), ("10.0.0.2", 1)]
SECOND = [("10.0.0.2", 3), ("10.0.0.3", 1), ("10.0.0.4", 0)]


class Town:
    """A client that discovers, and the control plane's answer."""

    def __init__(self, rows: list[tuple[str, float]], **settings: Any) -> None:
        self.reactor = PuppetReactor()
        config = ClientConfig(**{"seed": 1, "poll_jitter": 0.0, "drain_timeout_s": 0.0, **settings})
        self.client = PredictClient(
            f"http://{CONTROL}", "svc", endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=self.reactor, config=config
        )
        self.rows = rows
        self.asked: set[str] = set()

    def serve(self) -> None:
        """Answer polls and calls until nothing is asked any more."""
        for _ in range(10):
            for dial in list(self.reactor.dials):
                dial.accept().address = dial.address
            for wire in list(self.reactor.wires):
                if wire.is_open and wire.take():
                    says(wire, self._answer(wire.address[0]))
            self.reactor.advance(0.0)

    def _answer(self, ip: str) -> bytes:
        if ip != CONTROL:
            self.asked.add(ip)
            return response()
        items = [{"ip": ip, "port": 80, "weight": weight} for ip, weight in self.rows]
        return response(200, json.dumps({"endpoints": {"items": items}}).encode())

    def poll(self) -> None:
        self.reactor.advance(5.0)
        self.serve()

    def ask(self, n: int = 8) -> None:
        calls = [Result(self.client.predict(b"x")) for _ in range(n)]
        self.serve()
        assert [str(call.value) for call in calls] == ["ok"] * n

    @property
    def list(self) -> list[tuple[str, float]]:
        return [(instance.ip, instance.weight) for instance in self.client.instances]

    def assert_clean(self) -> None:
        closed = Result(self.client.close())
        self.serve()
        assert closed.fired
        assert not self.reactor.getDelayedCalls()
        assert not [wire for wire in self.reactor.wires if wire.is_open]


SETTINGS: list[dict[str, Any]] = [{}, {"subset_size": 1, "slow_start_s": 30.0, "max_in_flight_per_instance": 50}]


@pytest.mark.parametrize("path", BOUNDARIES)
def test_the_next_poll_takes_over_what_could_not_be_applied(
    path: str, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    """Between the two polls calls are answered; afterwards by the new list alone."""
    trap = Trap(monkeypatch, path)
    sprung = 0
    for settings, is_after in product(SETTINGS, (False, True)):
        logged.clear()
        trap.sprung = False
        town = Town(FIRST, **settings)
        Result(town.client.init())
        town.serve()
        town.ask()
        town.rows = SECOND
        trap.arm(ZeroDivisionError("planted"), is_after=is_after)
        town.poll()
        trap.error = None
        town.ask()
        town.poll()
        assert town.list == SECOND
        town.asked.clear()
        town.ask(40)
        assert town.asked <= {"10.0.0.2", "10.0.0.3"}
        assert settings or town.asked == {"10.0.0.2", "10.0.0.3"}
        town.rows = FIRST
        town.poll()
        assert town.list == FIRST
        if trap.sprung:
            assert logged == ["ZeroDivisionError"]
            sprung += 1
        town.assert_clean()
    assert sprung


@pytest.mark.parametrize("path", ["eas_tw.policy.rotation._Turn.join", "eas_tw.policy.subset.Subset.set_fleet"])
def test_a_list_that_could_not_be_applied_changes_nothing(
    path: str, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    """Neither the list nor who is asked; the account and an event say so, by a reason of its own."""
    trap = Trap(monkeypatch, path)
    town = Town(FIRST)
    Result(town.client.init())
    town.serve()
    events: list[Any] = []
    town.client.listen(events.append)
    town.rows = SECOND
    trap.arm(ZeroDivisionError("planted"), is_after=False)
    town.poll()
    assert town.list == FIRST
    town.ask()
    assert town.asked == {"10.0.0.1", "10.0.0.2"}
    status = town.client.discovery
    assert (status.polls, status.accepted, status.rejections) == (2, 1, {"not_applied": 1})
    assert status.last_error == "the list could not be applied: ZeroDivisionError: planted"
    assert [event.reason for event in events if isinstance(event, PollRefused)] == ["not_applied"]
    town.poll()
    assert town.client.discovery.last_error == ""
    assert [len(event.changes) for event in events if isinstance(event, ListChanged)] == [4]
    assert logged == ["ZeroDivisionError"]
    town.assert_clean()


def test_init_survives_a_first_list_that_cannot_be_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the next one, which comes soon."""
    trap = Trap(monkeypatch, "eas_tw.policy.cluster.Cluster.apply")
    town = Town(FIRST)
    trap.arm(ZeroDivisionError("planted"), is_after=False)
    ready = Result(town.client.init())
    town.serve()
    assert not ready.fired
    town.reactor.advance(0.1)
    town.serve()
    assert ready.value is town.client
    town.ask()
    town.assert_clean()


def test_a_listener_that_raises_does_not_stop_a_list(logged: list[str]) -> None:
    """Of the change itself, and of a rejected reply."""
    town = Town(FIRST)
    town.client.listen(thrower(SystemError("mine")))
    Result(town.client.init())
    town.serve()
    assert town.list == FIRST
    town.rows = []
    town.poll()
    town.rows = SECOND
    town.poll()
    assert town.list == SECOND
    assert logged == ["SystemError"] * 3
    town.assert_clean()


def test_a_listener_may_close_the_client_when_the_list_changes() -> None:
    """Calls that wait for an instance that has left are ended, and nothing is left open."""
    town = Town(FIRST)
    Result(town.client.init())
    town.serve()
    call = Result(town.client.predict(b"x"))
    town.client.listen(lambda event: town.client.close() if isinstance(event, ListChanged) else None)
    town.rows = SECOND
    town.reactor.advance(5.0)
    for dial in list(town.reactor.dials):
        if dial.address[0] == CONTROL:
            dial.accept().address = dial.address
    for wire in town.reactor.wires:
        if wire.is_open and wire.address[0] == CONTROL and wire.take():
            says(wire, town._answer(CONTROL))
    assert len(call.fired) == 1
    town.assert_clean()
