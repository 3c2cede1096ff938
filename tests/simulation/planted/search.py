"""Looking for a planted bug, for the test and for the table of the documentation."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import pytest

from simulator.virtual.nemesis import draw
from simulator.virtual.world import World
from tests.simulation.planted import BUGS


class Found(NamedTuple):
    """The first seed that finds a bug, and the checker."""

    seed: int
    checker: str

    def __str__(self) -> str:
        return f"seed {self.seed}, ({self.checker})"


def search(name: str) -> Found | None:
    """Plant a bug and run its seeds, until one finds it; what was planted is taken out again."""
    bug = BUGS[name]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bug.plant(patch.setattr)
        for seed in range(bug.seeds):
            violations = World(draw(seed, bug.profile)).run().violations
            if violations:
                return Found(seed, violations[0].checker)
    return None
