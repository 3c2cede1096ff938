"""Validation of values by JSON schemas, and its error messages."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.admin.checking import KNOWN, problem, problems
from simulator.simulator import Simulator
from tests.simulator.world import World

SCHEMA = {
    "type": "object",
    "properties": {
        "weight": {"type": "number", "minimum": 0, "maximum": 10},
        "state": {"type": "string", "enum": ["running", "hung"]},
        "on": {"type": "boolean"},
        "seed": {"type": ["integer", "null"]},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3},
        "weights": {"type": "array", "items": {"type": "number", "minimum": 0}, "maxItems": 2},
    },
    "required": ["weight"],
    "minProperties": 1,
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "value",
    [
        {"weight": 0},
        {"weight": 10.0, "state": "hung", "on": True, "seed": None},
        {"weight": 1, "seed": 3, "name": "abc", "weights": [1, 2.5]},
    ],
)
def test_good_values_pass(value: Any) -> None:
    assert problem(SCHEMA, value) == ""


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "$: expected an object, got []"),
        ({}, "$.weight: missing"),
        ({"weight": -1}, "$.weight: expected a number ≥ 0 and ≤ 10, got -1"),
        ({"weight": 11}, "$.weight: expected a number ≥ 0 and ≤ 10, got 11"),
        ({"weight": True}, "$.weight: expected a number"),
        ({"weight": "1"}, "$.weight: expected a number"),
        ({"weight": 1, "state": "sleepy"}, "$.state: expected one of running, hung, got 'sleepy'"),
        ({"weight": 1, "on": 1}, "$.on: expected true or false, got 1"),
        ({"weight": 1, "seed": 1.5}, "$.seed: expected a whole number or null, got 1.5"),
        ({"weight": 1, "seed": False}, "$.seed: expected a whole number or null, got False"),
        ({"weight": 1, "name": "A"}, "$.name: expected a string that matches ^[a-z]+$"),
        ({"weight": 1, "name": "abcd"}, "$.name: expected a string that matches ^[a-z]+$ and of at most 3 characters"),
        ({"weight": 1, "weights": [1, -1]}, "$.weights[1]: expected a number ≥ 0, got -1"),
        ({"weight": 1, "weights": [1, 1, 1]}, "$.weights: expected a list of at most 2"),
        ({"weight": 1, "colour": 1}, "$.colour: unknown; known are weight, state"),
        ({"weight": "x" * 100}, "…"),
    ],
)
def test_errors_have_the_path_of_the_wrong_value(value: Any, says: str) -> None:
    assert says in problem(SCHEMA, value)
    assert len(problem(SCHEMA, value)) < 200


def test_an_object_without_properties_is_an_error_that_lists_them() -> None:
    schema = {"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1}
    assert list(problems(schema, {})) == ["$: nothing to change; give a or b"]


def test_the_message_of_a_pattern_is_x_expected() -> None:
    schema = {"type": "string", "pattern": "^(a|b:[0-9]+)?$", "x-expected": "one of a, b:SECONDS, or nothing"}
    assert problem(schema, "b:1") == ""
    assert problem(schema, "c") == "$: expected one of a, b:SECONDS, or nothing, got 'c'"


def test_the_table_uses_only_keywords_that_are_understood() -> None:
    simulator: Simulator = World().simulator
    checked = [operation.takes for operation in simulator.admin.operations if operation.takes and operation.is_checked]
    parameters = [field.schema for operation in simulator.admin.operations for field in operation.query]
    assert len(checked) >= 5
    assert {keyword for schema in [*checked, *parameters] for keyword in _keywords(schema)} <= KNOWN


def _keywords(schema: Any) -> set[str]:
    found = set(schema)
    for inner in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        found |= _keywords(inner)
    return found
