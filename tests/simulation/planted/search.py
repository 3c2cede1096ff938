"""Search for a seed that finds a planted bug; used by the test and by the table in the documentation."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

from simulator.virtual.nemesis import draw
from simulator.virtual.world import World
from tests.simulation.planted import BUGS

PAGE = Path(__file__).parents[3] / "docs" / "simulation" / "planted.md"
_ROW = re.compile(r"^\| ([\w ]+) \|.*\| seed (\d+), ", re.MULTILINE)


class Found(NamedTuple):
    """The first seed that finds a bug, and the listed checker that reports it."""

    seed: int
    checker: str

    def __str__(self) -> str:
        return f"seed {self.seed}, ({self.checker})"


def known_seeds() -> dict[str, int]:
    """Return the seed that has found each bug, by the bug's name, from the table in the documentation."""
    text = PAGE.read_text("utf-8") if PAGE.is_file() else ""
    return {title.replace(" ", "_"): int(seed) for title, seed in _ROW.findall(text)}


def search(name: str, first: int = 0) -> Found | None:
    """Plant a bug, run its seeds until one finds it, and remove the bug.

    Args:
        name: A key of `BUGS`.
        first: The seed that is run first, before the other seeds from 0 on. If this seed has found the bug before, the
            search usually takes one run.

    Returns:
        The first seed that finds the bug; `None` if no seed does.
    """
    bug = BUGS[name]
    seeds = sorted(range(bug.seeds), key=lambda seed: seed != first)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bug.plant(patch.setattr)
        for seed in seeds:
            for violation in World(draw(seed, bug.profile)).run().violations:
                # Several checkers may report a violation, in an order that depends on the draws. The bug is found if
                # one of them is listed.
                if violation.checker in bug.checkers:
                    return Found(seed, violation.checker)
    return None
