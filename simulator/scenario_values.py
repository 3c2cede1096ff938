"""Validation of the values in a scenario's tables; errors are `ScenarioError`s with the path of the wrong value."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Never

from simulator.scenario_model import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Sequence


def tables(given: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the tables of the array `[[name]]`; an empty list if it is absent."""
    rows = given.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        wrong(f"$.{name}", f"[[{name}]] tables", rows)
    return rows


def table(path: str, given: Any) -> dict[str, Any]:
    """Return `given`, if it is a table; otherwise raise `ScenarioError`."""
    if not isinstance(given, dict):
        wrong(path, "a table", given)
    return given


def text(path: str, given: Any) -> str:
    """Return `given`, if it is a string; otherwise raise `ScenarioError`."""
    if not isinstance(given, str):
        wrong(path, "a string", given)
    return given


def number(path: str, given: Any, low: float, high: float, *, whole: bool = False) -> float:
    """Return `given`, if it is a number from `low` to `high` (with `whole`, an integer); else raise `ScenarioError`."""
    kinds = int if whole else (int, float)
    if not isinstance(given, kinds) or isinstance(given, bool) or not low <= given <= high:
        bounds = (f" ≥ {low:.10g}" if low > -inf else "") + (f" and ≤ {high:.10g}" if high < inf else "")
        wrong(path, f"a {'whole ' if whole else ''}number{bounds}", given)
    return given


def known(path: str, given: dict[str, Any], known: Sequence[str], what: str) -> None:
    """Check that a table has only known keys."""
    for name in given:
        if name not in known:
            fail(f"{path}.{name}", f"unknown; {what} has {', '.join(known)}")


def wrong(path: str, expected: str, got: Any) -> Never:
    """Raise the error for a value that is not as expected."""
    raise ScenarioError(f"{path}: expected {expected}, got {repr(got)[:60]}")


def fail(path: str, why: str) -> Never:
    """Raise an error with a path."""
    raise ScenarioError(f"{path}: {why}")
