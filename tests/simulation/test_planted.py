"""The simulation is worth trusting as far as it finds what is wrong: bugs planted in the client, each found in time."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.virtual.nemesis import draw
from simulator.virtual.world import World
from tests.simulation.planted import BUGS


def test_there_are_enough_of_them() -> None:
    """At least twenty, and every checker but the application's own has at least one to find."""
    assert len(BUGS) >= 20
    assert set("".join(bug.checkers for bug in BUGS.values())) >= set("abcdefghijklmno")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within its number of seeds, by one of its checkers."""
    bug = BUGS[name]
    bug.plant(monkeypatch.setattr)
    found: list[Any] = []
    for seed in range(bug.seeds):
        found = list(World(draw(seed, bug.profile)).run().violations)
        if found:
            break
    assert found, f"{name} was not found in {bug.seeds} seeds"
    assert found[0].checker in bug.checkers
