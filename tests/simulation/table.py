"""The planted bugs as the documentation's table, each looked for anew: `python -m tests.simulation.table`.

Writes docs/simulation/planted.md.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from simulator.virtual.nemesis import draw
from simulator.virtual.oracle import Violation
from simulator.virtual.world import World
from tests.simulation.planted import BUGS, Bug

PAGE = Path(__file__).parents[2] / "docs" / "simulation" / "planted.md"
_HEAD = """# Planted bugs

{count} patches to the client, each of the kind that people make (`tests/simulation/planted`).
A test plants them one by one and fails unless each is found within its number of seeds, by a checker that is named.

| planted | profile | seeds allowed | by checkers | found at |
|---|---|---|---|---|
"""


def row(name: str, bug: Bug, found: str) -> str:
    """Its line in the table."""
    title = name.replace("_", " ")
    return f"| {title} | `{bug.profile}` | {bug.seeds} | {', '.join(bug.checkers)} | {found} |"


def found(bug: Bug) -> str:
    """The first seed that finds it, and the checker."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bug.plant(patch.setattr)
        for seed in range(bug.seeds):
            violations: tuple[Violation, ...] = World(draw(seed, bug.profile)).run().violations
            if violations:
                return f"seed {seed}, ({violations[0].checker})"
    return "–"


if __name__ == "__main__":
    lines = [row(name, bug, found(bug)) for name, bug in BUGS.items()]
    PAGE.write_text(_HEAD.format(count=len(BUGS)) + "\n".join(lines) + "\n", "utf-8")
