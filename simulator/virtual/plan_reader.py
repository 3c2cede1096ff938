"""Reads a plan from a TOML file; the message about a wrong value begins with the path of the value."""

from __future__ import annotations

import tomllib
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import fields

from simulator.scenario_model import ScenarioError
from simulator.scenario_values import fail, known, number, table, tables, text, wrong
from simulator.service_spec import GATEWAY_MODES
from simulator.virtual.faults.catalog import KINDS
from simulator.virtual.plan import ADDRESSES, GATEWAYS, PROFILES, PlannedFault, RunPlan

if TYPE_CHECKING:
    from pathlib import Path

_WHOLE = {
    **dict.fromkeys(("instances", "zones", "burst"), (1, inf)),
    "seed": (-inf, inf),
    "services": (1, 2),
    **dict.fromkeys(("queue_instances", "queue_length"), (1, inf)),
    "clients": (0, inf),
    "keys": (0, inf),
}
_REAL = {
    **dict.fromkeys(("chaos_s", "work_s", "latency_s", "jitter_s", "restarts_s"), (0, inf)),
    **dict.fromkeys(("streams_per_s", "queue_per_s"), (0, inf)),
    **dict.fromkeys(("large", "cancelled", "once"), (0, 1)),
    **dict.fromkeys(("per_s", "gateway_timeout_s"), (0.001, inf)),
}
_FLAGS = ("has_token", "is_heard", "is_monotonic", "is_named", "queue_workers")
_MAY_BE_NEGATIVE = ("difference", "weight")
_MOST_WEIGHT = 10**6


def read(path: Path) -> RunPlan:
    """Read a plan from a file.

    Raises:
        ScenarioError: The file cannot be read, or is not a valid plan.
    """
    try:
        return parse(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ScenarioError(error.strerror) from error
    except UnicodeDecodeError as error:
        raise ScenarioError(str(error)) from error


def parse(toml: str) -> RunPlan:
    """Parse the text of a plan.

    Raises:
        ScenarioError: The text is not a valid plan; the message begins with the path of the wrong value.
    """
    try:
        given = tomllib.loads(toml)
    except (ValueError, RecursionError) as error:  # tomllib raises a plain ValueError for a number of 5,000 digits
        raise ScenarioError(str(error)) from error
    known("$", given, [field.name for field in fields(RunPlan)], "a plan")
    if "seed" not in given:
        fail("$.seed", "missing")
    values = {name: _value(f"$.{name}", name, value) for name, value in given.items()}
    values["own"] = tuple(tables(given, "own"))
    values["steps"] = tuple(_step(f"$.steps[{at}]", row) for at, row in enumerate(tables(given, "steps")))
    return RunPlan(**values)


def _value(path: str, name: str, given: Any) -> Any:
    bounds = _WHOLE.get(name) or _REAL.get(name)
    if bounds is not None:
        given = number(path, given, *bounds, whole=name in _WHOLE)
    elif name in _FLAGS:
        given = _flag(path, given)
    elif name == "profile":
        given = _one_of(path, given, PROFILES)
    elif name == "addresses":
        given = _one_of(path, given, ADDRESSES)
    elif name == "gateway":
        given = _one_of(path, given, GATEWAYS)
    elif name == "gateway_mode":
        given = _one_of(path, given, GATEWAY_MODES)
    elif name == "client":
        given = table(path, given)
    elif name == "weights":
        rows = given if isinstance(given, list) else wrong(path, "an array of weights", given)
        given = tuple(number(f"{path}[{at}]", weight, 0, _MOST_WEIGHT, whole=True) for at, weight in enumerate(rows))
    return given


def _step(path: str, row: dict[str, Any]) -> PlannedFault:
    known(path, row, ("at_s", "kind", "where", "for_s", "with"), "a fault")
    for name in ("at_s", "kind"):
        if name not in row:
            fail(f"{path}.{name}", "missing")
    kind = _one_of(f"{path}.kind", row["kind"], tuple(KINDS))
    return PlannedFault(
        number(f"{path}.at_s", row["at_s"], 0, inf),
        kind,
        int(number(f"{path}.where", row.get("where", -1), -1, inf, whole=True)),
        number(f"{path}.for_s", row.get("for_s", 0.0), 0, inf),
        _with(f"{path}.with", kind, table(f"{path}.with", row.get("with", {}))),
    )


def _with(path: str, kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check that a fault has exactly the parameters that the nemesis draws for its kind, with the same types."""
    drawn = {name: draw(Random(0)) for name, draw in KINDS[kind].draws.items()}
    known(path, given, tuple(drawn), f"the kind {kind}")
    for name, sample in drawn.items():
        if name not in given:
            fail(f"{path}.{name}", "missing")
        value = given[name]
        if isinstance(sample, bool):
            _flag(f"{path}.{name}", value)
        elif isinstance(sample, str):
            text(f"{path}.{name}", value)
        else:
            number(f"{path}.{name}", value, -inf if name in _MAY_BE_NEGATIVE else 0, inf)
    return given


def _flag(path: str, given: Any) -> bool:
    return given if isinstance(given, bool) else wrong(path, "true or false", given)


def _one_of(path: str, given: Any, names: tuple[str, ...]) -> str:
    if given not in names:
        wrong(path, f"one of {', '.join(names)}", given)
    return str(given)
