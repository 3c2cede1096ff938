"""The simulator's pages say what its tables say: types of faults, verbs, metrics, and the gallery."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from simulator.cli import COMMANDS
from simulator.expectations import METRICS
from simulator.fault_kinds import MALFORMED, ON_DISCOVERY, ON_INSTANCES
from simulator.faults import Fault
from simulator.scenario import gallery, read
from simulator.scenario_reader import parse
from simulator.timeline import VERBS
from tests.simulator.world import World

PAGES = Path(__file__).parents[2] / "docs" / "simulator"
pytestmark = pytest.mark.skipif(not PAGES.is_dir(), reason="the built package's tests have no docs beside them")


@pytest.fixture
def world() -> World:
    return World()


def page(name: str) -> str:
    return (PAGES / name).read_text("utf-8")


def rows(text: str, title: str) -> dict[str, str]:
    """The table under a title: its first column, without backticks, to the whole row."""
    section = text.partition(f"# {title}\n")[2].partition("\n#")[0]
    lines = section.partition("|---|")[2].splitlines()[1:]
    found = [line for line in lines if line.startswith("| `")]
    return {re.findall(r"`([^`]+)`", line)[0]: line for line in found}


@pytest.mark.parametrize(("title", "kinds"), [("On instances", ON_INSTANCES), ("On discovery", ON_DISCOVERY)])
def test_every_type_of_fault_is_described_with_every_attribute(title: str, kinds: dict[str, object]) -> None:
    """By name, and no other."""
    found = rows(page("faults.md"), title)
    assert list(found) == list(kinds)
    for name, kind in kinds.items():
        attributes = set(re.findall(r"`([^`]+)`", found[name].rpartition(" | ")[2].partition(" |")[0]))
        assert set(kind.attributes) <= attributes  # type: ignore[attr-defined]


def test_every_malformed_response_is_described() -> None:
    """Each way to break HTTP."""
    assert set(rows(page("faults.md"), "What a malformed response can be")) == set(MALFORMED)


def test_every_fault_of_the_page_is_one() -> None:
    """The TOML and JSON in it are read."""
    blocks = re.findall(r"```toml\n(.*?)```", page("faults.md"), re.DOTALL)
    assert blocks
    for block in blocks:
        for fault in tomllib.loads(block)["faults"]:
            Fault.from_json(fault)


def test_every_command_and_operation_of_the_admin_page_is_one(world: World) -> None:
    """Addresses by the table that routes, commands by the table of the command line."""
    text = page("admin-api.md")
    paths = {operation.path for operation in world.simulator.admin.operations}
    named = {re.sub(r"\{s\}", "{service}", path) for path in re.findall(r"/_eas(/v1/[a-z/-]+[a-z]|/[a-z]+z)\b", text)}
    assert len(named) >= 8
    assert named <= paths
    assert set(re.findall(r"python -m simulator (\w+)", text)) <= set(COMMANDS)
    events = set(re.findall(r"`(\w+)`", "".join(rows(text, "Listen").values()).replace("rate", "")))
    assert {"state", "instance", "request", "tick", "discovery", "fault"} <= set(rows(text, "Listen")) | events


def test_every_verb_and_every_metric_is_described() -> None:
    """By name, and no other."""
    assert set(rows(page("scenarios.md"), "What can happen")) == set(VERBS)
    assert set(rows(page("scenarios.md"), "What can be expected")) == set(METRICS)


def test_the_pages_scenarios_are_good() -> None:
    """Those of the text, and those of the gallery, each under its title."""
    for block in re.findall(r"```toml\n(.*?)```", page("scenarios.md"), re.DOTALL):
        parse(tomllib.loads(block))
    found = rows(page("scenarios.md"), "The gallery")
    assert set(found) == {path.stem for path in gallery()}
    for path in gallery():
        assert read(path).title in found[path.stem]
