"""Programs that embed the client run in a world with their own checkers."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from simulator.virtual.nemesis import draw
from simulator.virtual.world import World

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "simulated_service.py"


@pytest.fixture
def example() -> dict[str, Any]:
    """Import the example program of the documentation, and return its global names."""
    return runpy.run_path(str(EXAMPLE))


@pytest.mark.parametrize("seed", [7, *(pytest.param(seed, marks=pytest.mark.long) for seed in (8, 11))])
def test_the_example_program_loses_nothing(
    example: dict[str, Any], seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert example["main"](seed) == 0
    assert "0 lost" in capsys.readouterr().out


@pytest.mark.long
def test_the_checker_of_the_example_finds_a_planted_bug(example: dict[str, Any]) -> None:

    class Forgetful(example["Scorer"]):  # type: ignore[misc]
        async def _score(self, entry: Any) -> None:
            await super()._score(entry)
            if self.queue and self.queue[0] is entry:
                self.queue.popleft()

    class Simulated(example["Simulated"]):  # type: ignore[misc]
        pass

    Simulated.start.__globals__["Scorer"] = Forgetful
    found = [World(draw(seed, "chaos", 0.05), application=Simulated).run().violations for seed in range(5, 10)]
    assert "application" in {violation.checker for violations in found for violation in violations}
