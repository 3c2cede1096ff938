"""The planted bugs as the documentation's table, each looked for anew: `python -m tests.simulation.table`.

Writes docs/simulation/planted.md.
"""

from __future__ import annotations

from pathlib import Path

from tests.simulation.planted import BUGS
from tests.simulation.planted.search import Found, search

PAGE = Path(__file__).parents[2] / "docs" / "simulation" / "planted.md"
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


if __name__ == "__main__":
    lines = [row(name, search(name)) for name in BUGS]
    PAGE.write_text(_HEAD.format(count=len(BUGS)) + "\n".join(lines) + "\n", "utf-8")
