"""The vendor's third rule, and what a fleet does to a client: crashes, hangs, resets, slowness, restarts."""

from __future__ import annotations

import pytest

from eas_tw import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_VIPSERVER, ConnectionFailed, DeadlineExceeded, StatusError
from simulator import Fault, Target
from tests.simulation.house import SERVER, House


def on(number: int, type_: str, **attributes: object) -> Fault:
    return Fault(type_, target=Target("echo", f"echo-{number}"), attributes=attributes)


@pytest.mark.parametrize("seed", range(5))
def test_a_dead_instance_of_weight_1000_beside_a_live_one_of_weight_1(seed: int) -> None:
    """No call is lost, at any moment of it."""
    house = House(seed=seed, instances=2, weights=(1000, 1)).init()
    house.traffic(2.0, per_s=50)
    house.instance(0).crash()
    house.traffic(120.0, per_s=50)
    assert house.lost == []
    assert house.world.journal.by_instance["echo-1"] > 5900
    house.assert_clean()


@pytest.mark.parametrize("seed", range(5))
def test_two_dead_of_three(seed: int) -> None:
    """No call is lost and no instance is tried twice in a call."""
    house = House(seed=seed).init()
    house.traffic(2.0, per_s=50)
    house.instance(0).crash()
    house.instance(2).crash()
    house.traffic(60.0, per_s=50)
    assert house.lost == []
    attempts = house.client.counters.attempts
    assert attempts.total() == house.client.counters.calls + house.client.counters.retries.total()
    house.assert_clean()


@pytest.mark.parametrize("seed", range(5))
def test_all_dead_is_a_typed_error_with_every_instance_once(seed: int) -> None:
    """Three refusals on three instances; then, after the restart, calls succeed at once."""
    house = House(seed=seed).init()
    for number in range(3):
        house.instance(number).crash()
    for _ in range(20):
        with pytest.raises(ConnectionFailed) as caught:
            house.call()
        tried = [attempt.instance.key for attempt in caught.value.attempts]
        assert len(tried) == len(set(tried)) == 3
    for number in range(3):
        house.instance(number).restart()
    assert house.call() == "call 0"
    house.assert_clean()


@pytest.mark.parametrize("seed", range(10))
def test_crashes_and_restarts_under_load(seed: int) -> None:
    """One instance at a time goes down in the middle of everything and comes back: no call is lost."""
    house = House(seed=seed, jitter_s=0.002).init()
    for round_ in range(6):
        house.traffic(2.0, per_s=100)
        house.instance(round_ % 3).crash()
        house.traffic(3.0, per_s=100)
        house.instance(round_ % 3).restart()
    assert house.lost == []
    house.assert_clean()


def test_a_hung_instance_costs_its_attempts_not_the_calls() -> None:
    """With an attempt timeout the call goes elsewhere in time."""
    house = House(attempt_timeout_s=0.5).init()
    house.instance(1).hang()
    house.traffic(30.0)
    assert house.lost == []
    assert house.client.ejected
    house.instance(1).resume()
    house.wait(60.0)
    house.world.journal.clear()
    house.traffic(10.0)
    assert house.world.journal.by_instance["echo-1"] > 50
    assert house.lost == []
    house.assert_clean()


def test_without_an_attempt_timeout_the_deadline_is_the_bound() -> None:
    """A hung fleet: `DeadlineExceeded` at the deadline, not before and not after."""
    house = House(timeout_s=2.0).init()
    for number in range(3):
        house.instance(number).hang()
    before = house.scheduler.seconds()
    with pytest.raises(DeadlineExceeded):
        house.call()
    assert house.scheduler.seconds() - before == pytest.approx(2.0, abs=0.001)
    house.assert_clean()


def test_a_blackholed_fleet_is_the_deadline_too() -> None:
    """Packets vanish: connects time out, and the call ends by its deadline."""
    house = House(timeout_s=2.5, connect_timeout_s=1.0).init()
    house.network.blackhole(SERVER)
    before = house.scheduler.seconds()
    with pytest.raises((DeadlineExceeded, ConnectionFailed)):
        house.call()
    assert house.scheduler.seconds() - before <= 2.501
    house.network.restore(SERVER)
    house.wait(5.0)
    assert house.call() == "call 0"
    house.assert_clean()


@pytest.mark.parametrize(
    "fault",
    [on(0, "reset_peer"), on(0, "refuse"), on(0, "http_status", code=503), on(0, "http_status", code=450)],
    ids=lambda f: f.type,
)
def test_each_retried_fault_of_one_instance_loses_nothing(fault: Fault) -> None:
    """Reset, refusal, 503 and 450 on one of three go to another."""
    house = House().init()
    house.world.faults.add(fault)
    house.traffic(60.0)
    assert house.lost == []
    assert house.client.counters.retries.total() > 0
    house.assert_clean()


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_other_statuses_reach_the_caller(status: int) -> None:
    """At once, with the body."""
    house = House().init()
    house.world.faults.add(Fault("http_status", target=Target("echo"), attributes={"code": status, "body": "because"}))
    with pytest.raises(StatusError, match="because") as caught:
        house.call()
    assert (caught.value.status, len(caught.value.attempts)) == (status, 1)
    house.assert_clean()


def test_idle_connections_closed_by_the_fleet_are_no_error() -> None:
    """Every instance closes its idle connections at the moment the next calls are written."""
    house = House(jitter_s=0.001).init()
    for _ in range(50):
        for _ in range(6):
            house.begin_call()
        house.wait(1.0)
        for number in range(3):
            for connection in list(house.instance(number).server.connections):
                connection.close()
        for _ in range(6):
            house.begin_call()
        house.wait(1.0)
    assert house.lost == []
    assert house.client.counters.retries["stale"] > 0
    house.assert_clean()


def test_one_byte_segments_change_nothing() -> None:
    """However the network cuts it."""
    house = House().init()
    house.network.set_segments(1)
    house.traffic(5.0)
    assert house.lost == []
    house.assert_clean()


def test_a_rolling_restart_of_the_fleet() -> None:
    """Each in turn leaves the list, drains, ends, and a new one joins: no call is lost."""
    house = House(poll_interval_s=1.0).init()
    service = house.world.services["echo"]
    for number in range(3):
        service.add_instance()
        house.traffic(2.0)
        house.instance(number).registered = False
        house.traffic(2.0)
        house.instance(number).drain()
        house.traffic(2.0)
        house.run(service.remove_instance(f"echo-{number}"))
        house.traffic(1.0)
    assert house.lost == []
    assert len(house.client.instances) == 3
    house.assert_clean()


def test_shares_are_exact_in_quiet_times() -> None:
    """10, 10, 20: over 400 calls exactly 100, 100, 200."""
    house = House(weights=(10, 10, 20)).init()
    house.traffic(10.0, per_s=40)
    assert house.world.journal.by_instance == {"echo-0": 100, "echo-1": 100, "echo-2": 200}
    assert house.client.counters.retries.total() == 0
    house.assert_clean()


@pytest.mark.parametrize("endpoint_type", [ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_VIPSERVER])
def test_the_other_endpoint_types(endpoint_type: str) -> None:
    """Through the gateway, and with a list from VIPServer."""
    house = House(endpoint_type=endpoint_type).init()
    house.traffic(10.0)
    assert house.lost == []
    assert house.world.journal.total == 200
    house.assert_clean()


def test_the_gateway_is_retried_within_the_deadline() -> None:
    """503 of the gateway itself, for a moment."""
    house = House(endpoint_type=ENDPOINT_TYPE_DEFAULT, instances=1, attempts=9, backoff_max_s=1.0).init()
    house.instance(0).registered = False
    house.begin_call()
    house.wait(0.05)
    house.instance(0).registered = True
    house.wait(5.0)
    assert house.lost == []
    house.assert_clean()


def test_the_same_seed_is_the_same_world() -> None:
    """Byte for byte on the wire and event for event; another seed is another world."""

    def digest(seed: int) -> str:
        house = House(seed=seed, jitter_s=0.003).init()
        house.traffic(3.0)
        house.instance(0).crash()
        house.traffic(3.0)
        house.assert_clean()
        return house.scheduler.digest

    assert digest(4) == digest(4) != digest(5)
