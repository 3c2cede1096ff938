"""If applying a new list raises an exception, calls still work, and the next poll applies the list.

The tests use a whole client, with discovery replies in memory. `BOUNDARIES` lists the methods that raise.
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
    "eas_tw.runtime.ClientRuntime._got_list",
    "eas_tw.runtime.ClientRuntime._take_over",
    "eas_tw.net.upstream.Upstream.apply",
    "eas_tw.net.upstream.Pools.hold",
    "eas_tw.net.pool.Pool.retire",
    "eas_tw.policy.cluster.Cluster.apply",
    "eas_tw.policy.health.Health.set_fleet",
    "eas_tw.policy.rotation.Rotation.update",
    "eas_tw.policy.rotation._stride",
    "eas_tw.policy.slow_start.SlowStart.begin",
    "eas_tw.policy.slow_start.SlowStart.forget",
    "eas_tw.policy.subset.Subset.set_fleet",
    "eas_tw.telemetry.record.Record.list_changed",
]
CONTROL = "10.9.9.9"
FIRST = [("10.0.0.1", 1), ("10.0.0.2", 1)]
SECOND = [("10.0.0.2", 3), ("10.0.0.3", 1), ("10.0.0.4", 0)]


class Region:
    """A client with discovery, and a control plane that responds with the given rows."""

    def __init__(self, rows: list[tuple[str, float]], **settings: Any) -> None:
        self.reactor = PuppetReactor()
        config = ClientConfig(**{"seed": 1, "poll_jitter": 0.0, "drain_timeout_s": 0.0, **settings})
        self.client = PredictClient(
            f"http://{CONTROL}", "svc", endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=self.reactor, config=config
        )
        self.rows = rows
        self.asked: set[str] = set()

    def serve(self) -> None:
        """Respond to polls and calls until there are no more."""
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
def test_the_next_poll_applies_a_list_that_could_not_be_applied(
    path: str, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    trap = Trap(monkeypatch, path)
    sprung = 0
    for settings, is_after in product(SETTINGS, (False, True)):
        logged.clear()
        trap.sprung = False
        region = Region(FIRST, **settings)
        Result(region.client.init())
        region.serve()
        region.ask()
        region.rows = SECOND
        trap.arm(ZeroDivisionError("planted"), is_after=is_after)
        region.poll()
        trap.error = None
        region.ask()
        region.poll()
        assert region.list == SECOND
        region.asked.clear()
        region.ask(40)
        assert region.asked <= {"10.0.0.2", "10.0.0.3"}
        assert settings or region.asked == {"10.0.0.2", "10.0.0.3"}
        region.rows = FIRST
        region.poll()
        assert region.list == FIRST
        if trap.sprung:
            assert logged == ["ZeroDivisionError"]
            sprung += 1
        region.assert_clean()
    assert sprung


@pytest.mark.parametrize("path", ["eas_tw.policy.rotation._stride", "eas_tw.policy.subset.Subset.set_fleet"])
def test_a_list_that_could_not_be_applied_changes_nothing(
    path: str, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    trap = Trap(monkeypatch, path)
    region = Region(FIRST)
    Result(region.client.init())
    region.serve()
    events: list[Any] = []
    region.client.listen(events.append)
    region.rows = SECOND
    trap.arm(ZeroDivisionError("planted"), is_after=False)
    region.poll()
    assert region.list == FIRST
    region.ask()
    assert region.asked == {"10.0.0.1", "10.0.0.2"}
    status = region.client.discovery
    assert (status.polls, status.accepted, status.rejections) == (2, 1, {"not_applied": 1})
    assert status.last_error == "the list could not be applied: ZeroDivisionError: planted"
    assert [event.reason for event in events if isinstance(event, PollRefused)] == ["not_applied"]
    region.poll()
    assert region.client.discovery.last_error == ""
    assert [len(event.changes) for event in events if isinstance(event, ListChanged)] == [4]
    assert logged == ["ZeroDivisionError"]
    region.assert_clean()


def test_init_succeeds_after_a_first_list_that_could_not_be_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    trap = Trap(monkeypatch, "eas_tw.policy.cluster.Cluster.apply")
    region = Region(FIRST)
    trap.arm(ZeroDivisionError("planted"), is_after=False)
    ready = Result(region.client.init())
    region.serve()
    assert not ready.fired
    region.reactor.advance(0.1)
    region.serve()
    assert ready.value is region.client
    region.ask()
    region.assert_clean()


def test_a_listener_that_raises_does_not_stop_a_list(logged: list[str]) -> None:
    region = Region(FIRST)
    region.client.listen(thrower(SystemError("mine")))
    Result(region.client.init())
    region.serve()
    assert region.list == FIRST
    region.rows = []
    region.poll()
    region.rows = SECOND
    region.poll()
    assert region.list == SECOND
    assert logged == ["SystemError"] * 3
    region.assert_clean()


def test_a_listener_may_close_the_client_when_the_list_changes() -> None:
    """Calls that wait for a removed instance end, and no connection is left open."""
    region = Region(FIRST)
    Result(region.client.init())
    region.serve()
    call = Result(region.client.predict(b"x"))
    region.client.listen(lambda event: region.client.close() if isinstance(event, ListChanged) else None)
    region.rows = SECOND
    region.reactor.advance(5.0)
    for dial in list(region.reactor.dials):
        if dial.address[0] == CONTROL:
            dial.accept().address = dial.address
    for wire in region.reactor.wires:
        if wire.is_open and wire.address[0] == CONTROL and wire.take():
            says(wire, region._answer(CONTROL))
    assert len(call.fired) == 1
    region.assert_clean()
