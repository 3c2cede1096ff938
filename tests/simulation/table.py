"""Search for each planted bug, and write docs/simulation/planted.md: `python -m tests.simulation.table`."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.planted import BUGS
from tests.simulation.planted.elsewhere import ELSEWHERE
from tests.simulation.planted.search import PAGE, Found, search

_TAIL = """
## Left to unit tests

Bugs that the simulation does not look for, each with the reason and the test that finds it.

| bug | why | test |
|---|---|---|
"""
_HEAD = """# Planted bugs

{count} patches that add a realistic bug to the client (`tests/simulation/planted`).
For each, a test runs the simulation with the patch, and fails unless one of the listed checkers reports a violation
within the number of seeds.

| planted | profile | seeds allowed | by checkers | found at |
|---|---|---|---|---|
"""


def row(name: str, found: Found | None) -> str:
    """Return the table's row of a planted bug."""
    bug, title = BUGS[name], name.replace("_", " ")
    return f"| {title} | `{bug.profile}` | {bug.seeds} | {', '.join(bug.checkers)} | {found or '–'} |"


def elsewhere() -> str:
    """Return the page's section about bugs that unit tests find."""
    return _TAIL + "".join(f"| {each.bug} | {each.why} | `{each.test}` |\n" for each in ELSEWHERE)


if __name__ == "__main__":
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        lines = [row(name, found) for name, found in zip(BUGS, pool.map(search, BUGS), strict=True)]
    PAGE.write_text(_HEAD.format(count=len(BUGS)) + "\n".join(lines) + "\n" + elsewhere(), "utf-8")
