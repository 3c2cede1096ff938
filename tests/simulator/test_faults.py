"""Faults as values: checked by path, seeded, counted."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from twisted.internet.task import Clock

from simulator.fault_book import FaultBook
from simulator.faults import Fault, FaultError, Target

GOOD = {"type": "latency", "target": {"service": "s"}}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("x", "$: expected an object"),
        ({}, "$.type: missing"),
        ({**GOOD, "type": "quake"}, "$.type: expected one of"),
        ({**GOOD, "type": "empty_list"}, "$.type: expected one of"),
        ({"type": "latency"}, "$.target: expected an object"),
        ({**GOOD, "target": {}}, "$.target: expected an object"),
        ({**GOOD, "target": {"planet": "x"}}, "$.target.planet: unknown"),
        ({**GOOD, "target": {"instance": "s-0"}}, "$.target: needs a service"),
        ({**GOOD, "target": {"discovery": "yes"}}, "$.target.discovery: expected true"),
        ({**GOOD, "attributes": {"latency": -1}}, "$.attributes.latency: expected a number ≥ 0"),
        ({**GOOD, "attributes": {"latency": "5"}}, "$.attributes.latency: expected a number ≥ 0"),
        ({**GOOD, "attributes": {"latency": True}}, "$.attributes.latency"),
        ({**GOOD, "attributes": {"later": 1}}, "$.attributes.later: unknown; latency takes latency, jitter"),
        ({**GOOD, "attributes": [1]}, "$.attributes: expected an object"),
        (
            {**GOOD, "type": "http_status", "attributes": {"code": 99}},
            "$.attributes.code: expected a whole number ≥ 200 and ≤ 599",
        ),
        ({**GOOD, "probability": 1.1}, "$.probability: expected a number ≥ 0 and ≤ 1"),
        ({**GOOD, "times": 0}, "$.times"),
        ({**GOOD, "skip": -1}, "$.skip"),
        ({**GOOD, "skip": 1.5}, "$.skip: expected a whole number"),
        ({**GOOD, "duration_s": -1}, "$.duration_s"),
        ({**GOOD, "name": 5}, "$.name: expected a string"),
        ({**GOOD, "color": "red"}, "$.color: unknown"),
    ],
)
def test_what_is_wrong_is_said_by_its_path(given: Any, says: str) -> None:
    """Where, what was expected, what came."""
    with pytest.raises(FaultError) as caught:
        Fault.from_json(given)
    assert str(caught.value).startswith(says)


def test_json_and_back() -> None:
    """What the admin API shows makes the same fault again."""
    fault = Fault.from_json({**GOOD, "name": "n", "attributes": {"latency": 5}, "times": 3})
    assert Fault.from_json(fault.to_json()) == fault


class House:
    def __init__(self, seed: int = 1) -> None:
        self.clock = Clock()
        self.book = FaultBook(self.clock.seconds, Random(seed))

    def strikes(self, times: int, service: str = "s", instance: str = "s-0") -> list[bool]:
        return [bool(self.book.on_instance(service, instance)) for _ in range(times)]


def test_skip_and_times_bound_a_fault() -> None:
    """Two pass, three are struck, the rest pass."""
    house = House()
    house.book.add(Fault.from_json({**GOOD, "skip": 2, "times": 3}))
    assert house.strikes(7) == [False, False, True, True, True, False, False]
    assert list(house.book) == []


def test_duration_ends_a_fault() -> None:
    """In the clock's seconds."""
    house = House()
    house.book.add(Fault.from_json({**GOOD, "duration_s": 5}))
    house.clock.advance(4.9)
    assert house.strikes(1) == [True]
    house.clock.advance(0.1)
    assert house.strikes(1) == [False]


def test_probability_is_seeded() -> None:
    """About that share, and the same one again from the same seed."""
    runs = []
    for _ in range(2):
        house = House(seed=3)
        house.book.add(Fault.from_json({**GOOD, "probability": 0.25}))
        runs.append(house.strikes(400))
    assert runs[0] == runs[1]
    assert 70 < sum(runs[0]) < 130


def test_targets_are_matched() -> None:
    """One instance, a service, or discovery."""
    house = House()
    house.book.add(Fault("latency", Target("s", "s-1")))
    assert house.strikes(1) == [False]
    assert house.strikes(1, instance="s-1") == [True]
    assert house.strikes(1, service="t", instance="s-1") == [False]
    house.book.add(Fault("empty_list"))
    assert [fault.type for fault in house.book.on_discovery("s")] == ["empty_list"]
    assert house.strikes(1) == [False]


def test_a_name_is_made_up_and_a_name_given_again_replaces() -> None:
    """So that a test may say the same thing twice."""
    house = House()
    assert house.book.add(Fault("latency", Target("s"))).name == "latency-1"
    house.book.add(Fault("latency", Target("s"), name="x"))
    house.book.add(Fault("timeout", Target("s"), name="x"))
    assert [(fault.name, fault.type) for fault in house.book] == [("latency-1", "latency"), ("x", "timeout")]
    assert house.book.remove("x")
    assert not house.book.remove("x")
