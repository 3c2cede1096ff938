"""Rule 3 of the vendor (docs/reference/wire.md), failover, with crashes, hangs, resets, slowness and restarts."""

from __future__ import annotations

import pytest

from eas_tw import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_VIPSERVER, ConnectionFailed, DeadlineExceeded, StatusError
from simulator import Fault, Target
from tests.simulation.harness import SERVER, Harness


def on(number: int, type_: str, **attributes: object) -> Fault:
    return Fault(type_, target=Target("echo", f"echo-{number}"), attributes=attributes)


@pytest.mark.parametrize("seed", range(5))
def test_a_dead_instance_of_weight_1000_beside_a_live_one_of_weight_1(seed: int) -> None:
    harness = Harness(seed=seed, instances=2, weights=(1000, 1)).init()
    harness.traffic(2.0, per_s=50)
    harness.instance(0).crash()
    harness.traffic(120.0, per_s=50)
    assert harness.lost == []
    assert harness.world.journal.by_instance["echo-1"] > 5900
    harness.assert_clean()


@pytest.mark.parametrize("seed", range(5))
def test_two_dead_of_three(seed: int) -> None:
    """No call is lost, and every attempt after the first attempt of a call is counted as a retry."""
    harness = Harness(seed=seed).init()
    harness.traffic(2.0, per_s=50)
    harness.instance(0).crash()
    harness.instance(2).crash()
    harness.traffic(60.0, per_s=50)
    assert harness.lost == []
    attempts = harness.client.counters.attempts
    assert attempts.total() == harness.client.counters.calls + harness.client.counters.retries.total()
    harness.assert_clean()


@pytest.mark.parametrize("seed", range(5))
def test_all_dead_is_a_typed_error_with_every_instance_once(seed: int) -> None:
    """Each of three instances refuses each call once. The first call after their restart succeeds."""
    harness = Harness(seed=seed).init()
    for number in range(3):
        harness.instance(number).crash()
    for _ in range(20):
        with pytest.raises(ConnectionFailed) as caught:
            harness.call()
        tried = [attempt.instance.key for attempt in caught.value.attempts]
        assert len(tried) == len(set(tried)) == 3
    for number in range(3):
        harness.instance(number).restart()
    assert harness.call() == "call 0"
    harness.assert_clean()


@pytest.mark.parametrize("seed", range(10))
def test_crashes_and_restarts_under_load(seed: int) -> None:
    """One instance at a time crashes during calls, and restarts: no call is lost."""
    harness = Harness(seed=seed, jitter_s=0.002).init()
    for round_ in range(6):
        harness.traffic(2.0, per_s=100)
        harness.instance(round_ % 3).crash()
        harness.traffic(3.0, per_s=100)
        harness.instance(round_ % 3).restart()
    assert harness.lost == []
    harness.assert_clean()


def test_no_call_is_lost_to_a_hung_instance() -> None:
    harness = Harness(attempt_timeout_s=0.5).init()
    harness.instance(1).hang()
    harness.traffic(30.0)
    assert harness.lost == []
    assert harness.client.ejected
    harness.instance(1).resume()
    harness.wait(60.0)
    harness.world.journal.clear()
    harness.traffic(10.0)
    assert harness.world.journal.by_instance["echo-1"] > 50
    assert harness.lost == []
    harness.assert_clean()


def test_without_an_attempt_timeout_a_call_ends_at_its_deadline() -> None:
    """All instances hang: the call fails with `DeadlineExceeded` exactly at its deadline."""
    harness = Harness(timeout_s=2.0).init()
    for number in range(3):
        harness.instance(number).hang()
    before = harness.scheduler.seconds()
    with pytest.raises(DeadlineExceeded):
        harness.call()
    assert harness.scheduler.seconds() - before == pytest.approx(2.0, abs=0.001)
    harness.assert_clean()


def test_a_call_to_a_blackholed_fleet_ends_at_its_deadline() -> None:
    """All packets are lost: connects time out, and the call fails by its deadline."""
    harness = Harness(timeout_s=2.5, connect_timeout_s=1.0).init()
    harness.network.blackhole(SERVER)
    before = harness.scheduler.seconds()
    with pytest.raises((DeadlineExceeded, ConnectionFailed)):
        harness.call()
    assert harness.scheduler.seconds() - before <= 2.501
    harness.network.restore(SERVER)
    harness.wait(5.0)
    assert harness.call() == "call 0"
    harness.assert_clean()


@pytest.mark.parametrize(
    "fault",
    [on(0, "reset_peer"), on(0, "refuse"), on(0, "http_status", code=503), on(0, "http_status", code=450)],
    ids=lambda f: f.type,
)
def test_each_retried_fault_of_one_instance_loses_nothing(fault: Fault) -> None:
    """Calls that get a reset, a refusal, 503 or 450 from one of three instances are retried on another."""
    harness = Harness().init()
    harness.world.faults.add(fault)
    harness.traffic(60.0)
    assert harness.lost == []
    assert harness.client.counters.retries.total() > 0
    harness.assert_clean()


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_other_statuses_reach_the_caller(status: int) -> None:
    harness = Harness().init()
    harness.world.faults.add(
        Fault("http_status", target=Target("echo"), attributes={"code": status, "body": "because"})
    )
    with pytest.raises(StatusError, match="because") as caught:
        harness.call()
    assert (caught.value.status, len(caught.value.attempts)) == (status, 1)
    harness.assert_clean()


def test_idle_connections_closed_by_the_fleet_are_no_error() -> None:
    """Every instance closes its idle connections at the moment the next calls are written."""
    harness = Harness(jitter_s=0.001).init()
    for _ in range(50):
        for _ in range(6):
            harness.begin_call()
        harness.wait(1.0)
        for number in range(3):
            for connection in list(harness.instance(number).server.connections):
                connection.close()
        for _ in range(6):
            harness.begin_call()
        harness.wait(1.0)
    assert harness.lost == []
    assert harness.client.counters.retries["stale"] > 0
    harness.assert_clean()


def test_one_byte_segments_change_nothing() -> None:
    harness = Harness().init()
    harness.network.set_segments(1)
    harness.traffic(5.0)
    assert harness.lost == []
    harness.assert_clean()


def test_a_rolling_restart_of_the_fleet() -> None:
    harness = Harness(poll_interval_s=1.0).init()
    service = harness.world.services["echo"]
    for number in range(3):
        service.add_instance()
        harness.traffic(2.0)
        harness.instance(number).registered = False
        harness.traffic(2.0)
        harness.instance(number).drain()
        harness.traffic(2.0)
        harness.run(service.remove_instance(f"echo-{number}"))
        harness.traffic(1.0)
    assert harness.lost == []
    assert len(harness.client.instances) == 3
    harness.assert_clean()


def test_shares_are_exact_in_quiet_times() -> None:
    """Instances of weights 10, 10 and 20 get exactly 100, 100 and 200 of 400 calls."""
    harness = Harness(weights=(10, 10, 20)).init()
    harness.traffic(10.0, per_s=40)
    assert harness.world.journal.by_instance == {"echo-0": 100, "echo-1": 100, "echo-2": 200}
    assert harness.client.counters.retries.total() == 0
    harness.assert_clean()


@pytest.mark.parametrize("endpoint_type", [ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_VIPSERVER])
def test_the_other_endpoint_types(endpoint_type: str) -> None:
    harness = Harness(endpoint_type=endpoint_type).init()
    harness.traffic(10.0)
    assert harness.lost == []
    assert harness.world.journal.total == 200
    harness.assert_clean()


def test_a_call_through_the_gateway_is_retried_within_its_deadline() -> None:
    """The gateway responds 503 for 50 ms, and the call succeeds."""
    harness = Harness(endpoint_type=ENDPOINT_TYPE_DEFAULT, instances=1, attempts=9, backoff_max_s=1.0).init()
    harness.instance(0).registered = False
    harness.begin_call()
    harness.wait(0.05)
    harness.instance(0).registered = True
    harness.wait(5.0)
    assert harness.lost == []
    harness.assert_clean()


def test_the_same_seed_is_the_same_world() -> None:
    """Two runs with the same seed have the same hash of packets and log; another seed has another hash."""

    def digest(seed: int) -> str:
        harness = Harness(seed=seed, jitter_s=0.003).init()
        harness.traffic(3.0)
        harness.instance(0).crash()
        harness.traffic(3.0)
        harness.assert_clean()
        return harness.scheduler.digest

    assert digest(4) == digest(4) != digest(5)
