"""`Fault` objects and the fault registry: validation, seeds and limits."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from twisted.internet.task import Clock

from simulator.fault_kinds import ON_DISCOVERY, ON_INSTANCES, Attribute, FaultKind
from simulator.fault_registry import ACCEPT, HEAD, MAX_FAULTS, Activation, FaultRegistry
from simulator.faults import Fault, FaultError, Target, schema

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
        ({**GOOD, "name": "a/b"}, "$.name: expected printable characters without /"),
        ({**GOOD, "name": "x" * 101}, "$.name: expected a string of at most 100 characters"),
        ({**GOOD, "probability": float("nan")}, "$.probability: expected a number"),
        ({**GOOD, "attributes": {"latency": float("inf")}}, "$.attributes.latency: expected a number"),
        ({**GOOD, "attributes": {"stream": "sideways"}}, "$.attributes.stream: expected one of downstream, upstream"),
        ({**GOOD, "attributes": None, "times": "many"}, "$.times: expected a whole number ≥ 1"),
        ({**GOOD, "type": "slicer", "attributes": {"average_size": 0}}, "$.attributes.average_size: expected a whole"),
        ({**GOOD, "type": "limit_data", "attributes": {"reset": 1}}, "$.attributes.reset: expected true or false"),
        ({**GOOD, "type": "http_status", "attributes": {"body": 5}}, "$.attributes.body: expected a string"),
        ({**GOOD, "type": "refuse", "attributes": {"x": 5}}, "$.attributes.x: unknown; refuse takes none"),
        ({**GOOD, "target": {"service": 5}}, "$.target.service: expected a name"),
        ({**GOOD, "target": {"discovery": True, "zone": "a"}}, "$.target: discovery has no instance and no zone"),
        ({**GOOD, "target": {"discovery": False}}, "$.target: needs a service, or discovery"),
        ({"type": "slow_close", "target": {"discovery": True}}, "$.type: expected one of http_status, empty_list"),
        ({**GOOD, "color": "red"}, "$.color: unknown"),
    ],
)
def test_errors_have_the_path_of_the_wrong_value(given: Any, says: str) -> None:
    with pytest.raises(FaultError) as caught:
        Fault.from_json(given)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({**GOOD, "type": "empty_list"}, "got 'empty_list', which acts on discovery: change the target"),
        (
            {"type": "slow_close", "target": {"discovery": True}},
            "got 'slow_close', which acts on a service or an instance: change the target",
        ),
    ],
)
def test_a_type_with_the_wrong_target_says_what_it_acts_on(given: Any, says: str) -> None:
    with pytest.raises(FaultError) as caught:
        Fault.from_json(given)
    assert str(caught.value).endswith(says)


def test_a_fault_survives_json() -> None:
    fault = Fault.from_json({**GOOD, "name": "n", "attributes": {"latency": 5}, "times": 3})
    assert Fault.from_json(fault.to_json()) == fault


class Harness:
    def __init__(self, seed: int = 1) -> None:
        self.clock = Clock()
        self.registry = FaultRegistry(self.clock.seconds, Random(seed))

    def activations(self, times: int, service: str = "s", instance: str = "s-0") -> list[bool]:
        return [bool(self.registry.on_instance(service, instance)) for _ in range(times)]


def test_skip_and_times_bound_a_fault() -> None:
    harness = Harness()
    harness.registry.add(Fault.from_json({**GOOD, "skip": 2, "times": 3}))
    assert harness.activations(7) == [False, False, True, True, True, False, False]
    assert list(harness.registry) == []


def test_duration_ends_a_fault() -> None:
    harness = Harness()
    harness.registry.add(Fault.from_json({**GOOD, "duration_s": 5}))
    harness.clock.advance(4.9)
    assert harness.activations(1) == [True]
    harness.clock.advance(0.1)
    assert harness.activations(1) == [False]


def test_probability_is_seeded() -> None:
    """The share of activations is near the given probability. The same seed gives the same activations."""
    runs = []
    for _ in range(2):
        harness = Harness(seed=3)
        harness.registry.add(Fault.from_json({**GOOD, "probability": 0.25}))
        runs.append(harness.activations(400))
    assert runs[0] == runs[1]
    assert 70 < sum(runs[0]) < 130


def test_targets_are_matched() -> None:
    """A target is one instance, a service, or discovery."""
    harness = Harness()
    harness.registry.add(Fault("latency", Target("s", "s-1")))
    assert harness.activations(1) == [False]
    assert harness.activations(1, instance="s-1") == [True]
    assert harness.activations(1, service="t", instance="s-1") == [False]
    harness.registry.add(Fault("empty_list"))
    assert [fault.type for fault in harness.registry.on_discovery("s")] == ["empty_list"]
    assert harness.activations(1) == [False]


def test_a_fault_gets_a_name_and_replaces_the_one_of_the_same_name() -> None:
    harness = Harness()
    assert harness.registry.add(Fault("latency", Target("s"))).name == "latency-1"
    harness.registry.add(Fault("latency", Target("s"), name="x"))
    harness.registry.add(Fault("timeout", Target("s"), name="x"))
    assert [(fault.name, fault.type) for fault in harness.registry] == [("latency-1", "latency"), ("x", "timeout")]
    assert harness.registry.remove("x")
    assert not harness.registry.remove("x")


KINDS = [(name, kind, True) for name, kind in ON_DISCOVERY.items()] + [
    (name, kind, False) for name, kind in ON_INSTANCES.items()
]
WRONG: dict[str, list[Any]] = {
    "number": ["5", True, [], float("nan")],
    "integer": ["5", True, 1.5],
    "string": [5, True, None],
    "boolean": [0, "true", None],
}


def targeted(type_: str, *, discovery: bool, **attributes: Any) -> Fault:
    return Fault(type_, Target(discovery=True) if discovery else Target("s"), attributes)


@pytest.mark.parametrize(("name", "kind", "discovery"), KINDS)
def test_every_attribute_of_every_type_is_checked(name: str, kind: FaultKind, discovery: bool) -> None:  # noqa: FBT001
    """The default and both bounds are valid. Values beyond the bounds or of another type are errors with a path."""
    assert targeted(name, discovery=discovery).kind is kind
    for attribute in kind.attributes.values():
        good, bad = bounds(attribute)
        for value in good:
            assert targeted(name, discovery=discovery, **{attribute.name: value}).get(attribute.name) == value
        for value in bad:
            with pytest.raises(FaultError) as caught:
                targeted(name, discovery=discovery, **{attribute.name: value})
            assert str(caught.value).startswith(f"$.attributes.{attribute.name}: expected {attribute.expected}")


def bounds(attribute: Attribute) -> tuple[list[Any], list[Any]]:
    """Return the valid and the invalid values of an attribute."""
    good = [attribute.default, *attribute.choices, *([None] if attribute.is_optional else [])]
    bad = [value for value in WRONG[attribute.type] if not (value is None and attribute.is_optional)]
    if attribute.type in ("number", "integer"):
        step = 1 if attribute.type == "integer" else 0.0001
        good += [bound for bound in (attribute.low, attribute.high) if bound is not None]
        bad += [attribute.low - step] if attribute.low is not None else []
        bad += [attribute.high + step] if attribute.high is not None else []
    return good, bad


def test_the_schema_has_one_alternative_for_each_type_and_place() -> None:
    alternatives = schema()["oneOf"]
    assert len(alternatives) == len(KINDS)
    for alternative, (name, kind, discovery) in zip(
        alternatives, [*KINDS[len(ON_DISCOVERY) :], *KINDS[: len(ON_DISCOVERY)]], strict=True
    ):
        properties = alternative["properties"]
        assert properties["type"] == {"const": name}
        assert alternative["description"] == kind.says
        assert alternative["required"] == ["type", "target"]
        assert ("discovery" in properties["target"]["required"]) is discovery
        assert set(properties["attributes"]["properties"]) == set(kind.attributes)
        for attribute in kind.attributes.values():
            described = properties["attributes"]["properties"][attribute.name]
            assert described["default"] == attribute.default
            assert described.get("enum", []) == list(attribute.choices)


def test_a_fault_is_immutable() -> None:
    given = {"latency": 5}
    fault = Fault("latency", Target("s"), given)
    given["latency"] = -1
    assert fault.get("latency") == 5
    with pytest.raises(TypeError):
        fault.attributes["latency"] = -1  # type: ignore[index]
    fault.to_json()["attributes"]["latency"] = -1
    assert fault.get("latency") == 5


def test_a_fault_does_not_change_the_draws_of_another() -> None:
    runs = []
    for others in (0, 3):
        harness = Harness(seed=3)
        harness.registry.add(Fault("latency", Target("s"), probability=0.5, name="watched"))
        for number in range(others):
            harness.registry.add(Fault("latency", Target("s"), probability=0.3, name=f"other-{number}"))
        found = [[fault.name for fault in harness.registry.on_instance("s", "s-0")] for _ in range(100)]
        runs.append(["watched" in names for names in found])
    assert runs[0] == runs[1]


def test_faults_of_different_moments_are_separate() -> None:
    harness = Harness()
    harness.registry.add(Fault("reset_peer", Target("s"), {"at": "accept"}, name="accept"))
    harness.registry.add(Fault("reset_peer", Target("s"), {"at": "head"}, name="head"))
    harness.registry.add(Fault("reset_peer", Target("s"), {"at": "body"}, name="body"))
    harness.registry.add(Fault("refuse", Target("s"), times=1, name="counted"))
    found = {
        moment: [fault.name for fault in harness.registry.on_instance("s", "s-0", moment=moment)]
        for moment in (ACCEPT, HEAD, "request")
    }
    assert found == {ACCEPT: ["accept", "counted"], HEAD: ["head"], "request": ["body"]}
    assert not harness.registry.refuses("s", "s-0")


def test_a_fault_of_a_zone_applies_to_its_instances() -> None:
    harness = Harness()
    harness.registry.add(Fault("refuse", Target("s", zone="a")))
    assert harness.registry.refuses("s", "s-0", "a")
    assert not harness.registry.refuses("s", "s-1", "b")


def test_each_activation_is_reported_and_recorded() -> None:
    harness = Harness()
    told: list[Activation] = []
    harness.registry.on_activation.append(told.append)
    harness.registry.add(Fault("latency", Target("s"), name="x", skip=1))
    harness.clock.advance(3)
    harness.activations(2)
    assert told == list(harness.registry.activations) == [Activation(3.0, "x", "latency", "s", "s-0")]
    harness.registry.clear()
    assert not harness.registry.activations


def test_the_number_of_active_faults_is_bounded() -> None:
    harness = Harness()
    for number in range(MAX_FAULTS):
        harness.registry.add(Fault("latency", Target("s"), name=f"f{number}", duration_s=5 if number else None))
    with pytest.raises(FaultError, match="there are 1000 faults already"):
        harness.registry.add(Fault("latency", Target("s")))
    harness.registry.add(Fault("timeout", Target("s"), name="f0"))
    harness.clock.advance(5)
    harness.registry.add(Fault("latency", Target("s")))
    assert [fault.name for fault in harness.registry] == ["f0", "latency-1"]
