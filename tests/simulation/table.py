"""The planted bugs as the documentation's table, each looked for anew: `python -m tests.simulation.table`.

Writes docs/simulation/planted.md.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.planted import BUGS
from tests.simulation.planted.elsewhere import ELSEWHERE
from tests.simulation.planted.search import PAGE, Found, search

_TAIL = """
## Left to unit tests

Bugs that no world is the place for, each with the reason and the test that finds it.

| bug | why | test |
|---|---|---|
"""
_HEAD = """# Planted bugs

{count} patches to the client, each of the kind that people make (`tests/simulation/planted`).
A test plants them one by one and fails unless each is found within its number of seeds, by a checker that is named.

| planted | profile | seeds allowed | by checkers | found at |
|---|---|---|---|---|
"""


def row(name: str, found: Found | None) -> str:
    """Its line in the table."""
    bug, title = BUGS[name], name.replace("_", " ")
    return f"| {title} | `{bug.profile}` | {bug.seeds} | {', '.join(bug.checkers)} | {found or '–'} |"


def elsewhere() -> str:
    """What is below the table."""
    return _TAIL + "".join(f"| {each.bug} | {each.why} | `{each.test}` |\n" for each in ELSEWHERE)


if __name__ == "__main__":
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        lines = [row(name, found) for name, found in zip(BUGS, pool.map(search, BUGS), strict=True)]
    PAGE.write_text(_HEAD.format(count=len(BUGS)) + "\n".join(lines) + "\n" + elsewhere(), "utf-8")
