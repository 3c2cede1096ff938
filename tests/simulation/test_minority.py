"""Some or all instances of a small fleet are dead: real client and real simulator in virtual time, default settings.

The tests make calls one after the other, 10 ms apart, for every fleet of 2 to 9 instances, every smaller number of dead
instances, and each kind of failure.
"""

from __future__ import annotations

from collections import Counter
from itertools import cycle, islice
from random import Random
from statistics import median
from typing import Any

import pytest

from eas_tw.telemetry.events import Ejected, EjectionOverflow, Returned
from simulator import Fault, Target
from tests.simulation.harness import Harness

WAYS = ("refused", "unanswered", "vanished", "silent")
CALM, AFTER = 140, 80
NOT_MORE = 0.001
"""Tolerance in seconds of the comparison of latencies, which are random."""


class Fleet:
    """A fleet whose instances fail in various ways, and a client that makes one call after the other."""

    def __init__(self, n: int, seed: int = 1, **settings: Any) -> None:
        self.harness = Harness(seed=seed, instances=n, jitter_s=0.0005, **settings).init()
        self.client = self.harness.client
        self.told: list[Any] = []
        self.client.listen(
            lambda event: self.told.append(event) if isinstance(event, Ejected | EjectionOverflow | Returned) else None
        )
        self.dead: list[str] = []

    def kill(self, number: int, way: str) -> None:
        instance, network = self.harness.instance(number), self.harness.network
        link = network.link((instance.ip, instance.port))
        self.dead.append(f"{instance.ip}:{instance.port}")
        if way == "refused":
            instance.crash()
        elif way == "silent":
            instance.hang()
        elif way == "vanished":
            network.set(link.ways, is_hole=True)
        else:
            for connection in list(instance.server.connections):
                connection.close()
            self.harness.wait(0.001)
            network.set([link.up], drops_syn=True)

    def revive(self, number: int, way: str) -> None:
        instance, network = self.harness.instance(number), self.harness.network
        network.set(network.link((instance.ip, instance.port)).ways, is_hole=False, drops_syn=False)
        if way == "refused":
            instance.restart()
        elif way == "silent":
            instance.resume()

    def call(self) -> tuple[float, str]:
        """Make one call; return its latency in seconds and the name of its error."""
        began_s, ends = self.harness.scheduler.elapsed(), []
        self.client.predict("x").addCallbacks(
            lambda _: ends.append(""), lambda failure: ends.append(type(failure.value).__name__)
        )
        assert self.harness.scheduler.run_until(lambda: bool(ends), 30.0)
        return self.harness.scheduler.elapsed() - began_s, ends[0]

    def calls(self, count: int) -> tuple[list[float], list[str]]:
        """Make `count` calls, 10 ms apart; return their latencies in seconds, and the names of their errors."""
        took, errors = [], []
        for _ in range(count):
            took_s, error = self.call()
            took.append(took_s)
            errors += [error] if error else []
            self.harness.wait(0.01)
        return took, errors

    def calls_to_the_dead(self) -> Counter[str]:
        return Counter({address: n for address, n in self.client.counters.attempts.items() if address in self.dead})


def ways_of(way: str, k: int) -> list[str]:
    return [way] * k if way != "mixed" else list(islice(cycle(WAYS), k))


def beside_the_dead(n: int, k: int, way: str, *, calm: int = CALM) -> None:
    """Kill `k` of `n` instances, and check that no call is lost or slow and that dead instances get only probes."""
    fleet = Fleet(n, seed=n * 10 + k)
    calm_s, errors = fleet.calls(calm)
    assert errors == []
    for number, dies in zip(Random(k).sample(range(n), k), ways_of(way, k), strict=True):
        fleet.kill(number, dies)
    before = fleet.calls_to_the_dead()
    took_s, errors = fleet.calls(AFTER)
    assert errors == []
    if calm_s:
        assert median(took_s[9:]) <= 2 * median(calm_s) + NOT_MORE
    ejections = fleet.client.counters.ejections
    for address, calls in (fleet.calls_to_the_dead() - before).items():
        assert calls <= ejections[address] + 1, address
    assert {f"{event.instance.address}" for event in fleet.told if isinstance(event, Ejected)} <= set(fleet.dead)
    assert not [event for event in fleet.told if not isinstance(event, Ejected)]
    fleet.harness.assert_clean()


@pytest.mark.parametrize("way", [*WAYS, "mixed"])
@pytest.mark.parametrize("n", range(2, 10))
def test_no_call_is_lost_and_the_median_latency_stays_low(n: int, way: str) -> None:
    for k in range(1, n):
        beside_the_dead(n, k, way)


@pytest.mark.parametrize("way", [*WAYS, "mixed"])
@pytest.mark.parametrize(("n", "k"), [(2, 1), (3, 2), (5, 4), (9, 8)])
def test_no_call_is_lost_when_instances_are_dead_from_the_start(n: int, k: int, way: str) -> None:
    """The client has no latencies yet, and the first call has to find the instance that responds."""
    beside_the_dead(n, k, way, calm=0)


@pytest.mark.parametrize("way", WAYS)
def test_after_the_first_ejections_dead_instances_get_probes_only(way: str) -> None:
    fleet = Fleet(9)
    fleet.calls(CALM)
    for number in range(8):
        fleet.kill(number, way)
    fleet.calls(AFTER)
    before, told = fleet.calls_to_the_dead(), fleet.client.counters.ejections.copy()
    took_s, errors = fleet.calls(6000)
    assert errors == []
    assert max(took_s) < 0.05
    ejections = fleet.client.counters.ejections - told
    for address, calls in (fleet.calls_to_the_dead() - before).items():
        assert calls <= ejections[address] + 1 <= 8, address
    fleet.harness.assert_clean()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("down_s", [3.0, 20.0])
@pytest.mark.parametrize("n", [2, 5, 9])
def test_when_all_are_dead_the_first_to_return_is_found(n: int, down_s: float, way: str) -> None:
    """A call succeeds within 2 s after the return, even if the ejections last longer; later calls succeed too."""
    fleet = Fleet(n)
    fleet.calls(CALM)
    for number in range(n):
        fleet.kill(number, way)
    died_s = fleet.harness.scheduler.elapsed()
    while fleet.harness.scheduler.elapsed() - died_s < down_s:
        attempts = fleet.client.counters.attempts.total()
        assert fleet.calls(1)[1] != []
        assert fleet.client.counters.attempts.total() > attempts
    fleet.revive(n // 2, way)
    returned_s = fleet.harness.scheduler.elapsed()
    while fleet.call()[1]:
        fleet.harness.wait(0.01)
    assert fleet.harness.scheduler.elapsed() - returned_s <= 2.0
    assert fleet.calls(20)[1] == []
    fleet.harness.assert_clean()


def test_at_most_half_of_the_fleet_is_ejected_for_errors() -> None:
    """Four of five instances respond 500: two are ejected, and the bound prevents two more ejections."""
    fleet = Fleet(5)
    for number in range(4):
        target = Target("echo", f"echo-{number}")
        fleet.harness.world.faults.add(Fault("http_status", target=target, attributes={"code": 500}, name=f"f{number}"))
    fleet.calls(100)
    assert len(fleet.client.ejected) == 2
    assert [type(event) for event in fleet.told].count(EjectionOverflow) == 2
    assert sorted(fleet.client.counters.ejections_overflow.values()) == [1, 1]
    fleet.harness.heal()
    fleet.harness.assert_clean()


def test_450_and_429_do_not_eject_an_instance() -> None:
    fleet = Fleet(5)
    for number, code in enumerate((450, 450, 429, 429)):
        target = Target("echo", f"echo-{number}")
        fleet.harness.world.faults.add(
            Fault("http_status", target=target, attributes={"code": code}, name=f"f{number}")
        )
    fleet.calls(100)
    assert fleet.told == []
    fleet.harness.heal()
    fleet.harness.assert_clean()


@pytest.mark.parametrize("slow_s", [0.1, 0.5, 1.0])
def test_slow_instances_return_after_their_ejection(slow_s: float) -> None:
    """Eight of nine instances become slow. After a minute they get calls again, and calls are not hedged."""
    fleet = Fleet(9)
    fleet.calls(CALM)
    for number in range(8):
        target = Target("echo", f"echo-{number}")
        slow = Fault("latency", target=target, attributes={"latency": slow_s * 1000, "jitter": 0}, name=f"f{number}")
        fleet.harness.world.faults.add(slow)
    while fleet.harness.scheduler.elapsed() < 60.0:
        fleet.calls(1)
    hedges, journal = fleet.client.counters.hedges, fleet.harness.world.journal
    journal.clear()
    assert fleet.calls(45)[1] == []
    assert fleet.client.counters.hedges == hedges
    assert fleet.client.ejected == ()
    assert max(journal.by_instance.values()) <= 6
    fleet.harness.heal()
    fleet.harness.assert_clean()


@pytest.mark.parametrize("per_s", [20.0, 200.0])
def test_silent_instances_under_load_cause_no_lost_call_and_few_requests(per_s: float) -> None:
    """Two of three instances are silent: no call is lost, and there are at most 5 % more attempts than calls."""
    fleet = Fleet(3)
    harness = fleet.harness
    harness.traffic(5.0, per_s)
    fleet.kill(0, "silent")
    fleet.kill(1, "vanished")
    attempts, started = fleet.client.counters.attempts.total(), harness.started
    harness.traffic(30.0, per_s)
    harness.wait(6.0)
    assert harness.lost == []
    assert fleet.client.counters.attempts.total() - attempts <= 1.05 * (harness.started - started) + 10
    harness.assert_clean()


def test_hedging_stops_when_all_instances_become_slow() -> None:
    fleet = Fleet(5)
    harness = fleet.harness
    harness.traffic(5.0, 100.0)
    harness.world.faults.add(Fault("latency", target=Target("echo"), attributes={"latency": 2000, "jitter": 0}))
    harness.traffic(5.0, 100.0)
    hedges = fleet.client.counters.hedges
    harness.traffic(10.0, 100.0)
    assert fleet.client.counters.hedges == hedges
    assert hedges <= 200
    harness.wait(6.0)
    assert harness.lost == []
    assert fleet.told == []
    harness.heal()
    harness.assert_clean()


def test_a_call_that_is_not_idempotent_is_retried_if_it_was_not_sent() -> None:
    """Three of four instances do not accept connections: no call is lost, and each reaches one instance once."""
    fleet = Fleet(4)
    fleet.calls(CALM)
    for number in range(3):
        fleet.kill(number, "unanswered")
    for _ in range(20):
        assert fleet.harness.run(fleet.client.predict("once", idempotent=False)).content == b"once"
    reached = fleet.harness.world.journal.total
    assert reached == CALM + 20
    fleet.harness.assert_clean()


def test_a_late_response_returns_a_silent_instance() -> None:
    fleet = Fleet(3)
    fleet.calls(CALM)
    fleet.kill(0, "silent")
    fleet.calls(AFTER)
    assert [event.why for event in fleet.told] == ["silent"]
    fleet.revive(0, "silent")
    fleet.harness.wait(0.1)
    assert [type(event) for event in fleet.told] == [Ejected, Returned]
    assert fleet.told[1].why == "answered"
    assert fleet.client.ejected == ()
    fleet.harness.assert_clean()


def test_closing_the_client_closes_overdue_attempts() -> None:
    fleet = Fleet(3)
    fleet.calls(CALM)
    fleet.kill(0, "silent")
    fleet.kill(1, "vanished")
    fleet.calls(6)
    fleet.harness.run(fleet.client.close())
    assert not [event for event in fleet.harness.scheduler.pending if "eas_tw" in repr(event)]
    fleet.harness.assert_clean()
