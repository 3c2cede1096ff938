"""Every planted bug is found by the simulation within its number of seeds."""

from __future__ import annotations

import os
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from simulator.virtual.oracle import CHECKERS
from tests.simulation.planted import BUGS
from tests.simulation.planted.elsewhere import ELSEWHERE, Elsewhere
from tests.simulation.planted.search import Found, known_seeds, search

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
Searches = dict[str, "Future[Found | None]"]


@pytest.fixture(scope="module")
def searches() -> Iterator[Searches]:
    """Start the searches for all bugs, on at most two processes."""
    pool = ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn"))
    known = known_seeds()
    yield {name: pool.submit(search, name, known.get(name, 0)) for name in BUGS}
    pool.shutdown(cancel_futures=True)


def test_every_checker_has_a_planted_bug() -> None:
    assert len(BUGS) >= 20
    assert {checker for bug in BUGS.values() for checker in bug.checkers} == set(CHECKERS) - {"application"}


@pytest.mark.parametrize("each", ELSEWHERE, ids=lambda each: each.bug)
def test_the_unit_tests_of_bugs_that_are_not_planted_exist(each: Elsewhere) -> None:
    file, _, name = each.test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text("utf-8")


@pytest.mark.long
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, searches: Searches) -> None:
    bug = BUGS[name]
    assert searches[name].result(), f"{name} was not found by {', '.join(bug.checkers)} in {bug.seeds} seeds"
