"""The pages on the simulation list its profiles, fault kinds, checkers and planted bugs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from simulator.virtual.faults.catalog import KINDS
from simulator.virtual.oracle import CHECKERS
from simulator.virtual.plan import PROFILES
from tests.simulation.planted import BUGS
from tests.simulation.table import elsewhere, row

PAGES = Path(__file__).parents[2] / "docs" / "simulation"


def section(title: str) -> str:
    """Return the text of a section of docs/simulation/index.md."""
    return (PAGES / "index.md").read_text("utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_profile_is_described() -> None:
    assert re.findall(r"^\| `(\w+)` \|", section("Phases"), re.MULTILINE) == list(PROFILES)


def test_every_kind_of_fault_is_in_the_generated_table() -> None:
    assert ":::{faults} groups\n:::" in section("Faults")
    table = runpy.run_path(str(PAGES.parent / "fault_tables.py"))["TABLES"]["groups"]()
    found = re.findall(r"`(\w+)`", "\n".join(table))
    missing = set(KINDS) - set(found)
    assert not missing, (
        f"{missing}: not in the table under 'Faults' of docs/simulation/index.md: add its dictionary to GROUPS in "
        "simulator/virtual/faults/catalog.py"
    )
    assert len(found) == len(KINDS)


def test_every_checker_is_described() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", section("Checkers"), re.MULTILINE) == list(CHECKERS)


def test_every_planted_bug_is_listed() -> None:
    """Only the first columns are compared, because `tests.simulation.table` generates the last."""
    page = (PAGES / "planted.md").read_text("utf-8")
    table, _, rest = page.partition("## Left to unit tests")
    listed = [line.rpartition(" | ")[0] for line in table.splitlines() if line.startswith("| ") and "`" in line]
    assert listed == [row(name, None).rpartition(" | ")[0] for name in BUGS]
    assert "–" not in page
    assert elsewhere().endswith(rest)
