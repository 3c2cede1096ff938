"""The pages on the simulator list its fault kinds, verbs, metrics and the files of the gallery."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulator.cli import COMMANDS
from simulator.expectations import METRICS
from simulator.fault_kinds import MALFORMED, ON_DISCOVERY, ON_INSTANCES
from simulator.faults import Fault, FaultError
from simulator.scenario import ScenarioError, gallery, read
from simulator.timeline import VERBS
from tests.docs.pages import EXAMPLES, blocks
from tests.docs.test_shown import shown
from tests.simulator.test_gallery import play
from tests.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.fault_kinds import FaultKind

PAGES = Path(__file__).parents[2] / "docs" / "simulator"


@pytest.fixture
def world() -> World:
    return World()


def page(name: str) -> str:
    return (PAGES / name).read_text("utf-8")


def rows(text: str, title: str) -> dict[str, str]:
    """Return the table under a title, as a mapping from the first column, without backticks, to the row."""
    section = text.partition(f"# {title}\n")[2].partition("\n#")[0]
    lines = section.partition("|---|")[2].splitlines()[1:]
    found = [line for line in lines if line.startswith("| `")]
    return {re.findall(r"`([^`]+)`", line)[0]: line for line in found}


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    """Return the functions of docs/fault_tables.py, which make the tables of fault kinds."""
    found: dict[str, Any] = runpy.run_path(str(PAGES.parent / "fault_tables.py"))["TABLES"]
    return found


def test_every_generated_table_is_on_a_page(tables: dict[str, Any]) -> None:
    shown_ones = [block.argument for block in blocks() if block.language == "{faults}"]
    missing = set(tables) - set(shown_ones)
    assert not missing, f"{missing}: docs/fault_tables.py makes it, but no page in docs has its directive `faults`"
    unknown = set(shown_ones) - set(tables)
    assert not unknown, f"{unknown}: a page shows it, but docs/fault_tables.py does not make it"


@pytest.mark.parametrize(("name", "kinds"), [("instances", ON_INSTANCES), ("discovery", ON_DISCOVERY)])
def test_every_type_of_fault_is_described_with_every_attribute(
    tables: dict[str, Any], name: str, kinds: Mapping[str, FaultKind]
) -> None:
    found = {line.split("`")[1]: line for line in tables[name]() if line.startswith("| `")}
    missing = [kind for kind in kinds if kind not in found]
    assert not missing, (
        f"{missing}: docs/fault_tables.py leaves it out of the table `{name}` of docs/simulator/faults.md"
    )
    for kind, each in kinds.items():
        lost = [attribute for attribute in each.attributes if f"`{attribute}`" not in found[kind].split(" | ")[2]]
        assert not lost, (
            f"{kind}: docs/fault_tables.py leaves out {lost} in the table `{name}` of docs/simulator/faults.md"
        )
        assert found[kind].count(" | ") == 2, f"{kind}: its description must not have a |"


def test_the_generated_description_of_an_attribute_has_unit_default_and_choices(tables: dict[str, Any]) -> None:
    text = "\n".join(tables["instances"]() + tables["discovery"]())
    for part in (
        "`delay` (µs; default 0): pause between segments",
        "`stream` (one of downstream, upstream; default downstream): delayed direction",
        "`close` (default true): whether",
        "`retry_after` (s; default null): the",
        "`after` (ms; at least 1; default 1000): time",
        "(bytes; at least 1; default 32 MiB): size",
        "`body` (default `<html>busy</html>`): body",
        "| `latency`, `jitter`, `tail`, `stream`, as on instances |",
        "| `refuse` | new connections are refused; open ones are kept | – |",
    ):
        assert part in text


def test_the_services_of_the_page_of_queues_are_valid() -> None:
    first, second = read(EXAMPLES / "queues.toml").services
    assert (first.queue_workers, second.queue_workers) == (True, False)


def test_every_malformed_response_is_described() -> None:
    title = "What a malformed response can be"
    found = set(rows(page("faults.md"), title))
    missing = set(MALFORMED) - found
    assert not missing, f"{missing}: add a row to the table under {title!r} in docs/simulator/faults.md"
    assert found == set(MALFORMED), (
        f"{found - set(MALFORMED)}: remove its row under {title!r} in docs/simulator/faults.md"
    )


def test_the_fault_and_the_error_of_the_page_are_the_simulators() -> None:
    (given,) = tomllib.loads((EXAMPLES / "fault.toml").read_text("utf-8"))["faults"]
    assert Fault.from_json(given).times == 100
    given["attributes"]["latency"] = -5
    with pytest.raises(FaultError) as caught:
        Fault.from_json(given)
    assert shown("docs/simulator/faults.md", "text") == [str(caught.value)]


def test_every_command_and_operation_of_the_admin_page_exists(world: World) -> None:
    """Paths are looked up in the table of operations, commands in the table of the command line."""
    text = page("admin-api.md")
    paths = {operation.path for operation in world.simulator.admin.operations}
    named = {re.sub(r"\{s\}", "{service}", path) for path in re.findall(r"/_eas(/v1/[a-z/-]+[a-z]|/[a-z]+z)\b", text)}
    assert len(named) >= 8
    assert named <= paths
    assert set(re.findall(r"python -m simulator (\w+)", text)) <= set(COMMANDS)
    events = set(re.findall(r"`(\w+)`", "".join(rows(text, "Events").values()).replace("rate", "")))
    assert {"state", "instance", "request", "tick", "discovery", "fault"} <= set(rows(text, "Events")) | events


def test_every_verb_and_every_metric_is_described() -> None:
    assert set(rows(page("scenarios.md"), "Steps")) == set(VERBS)
    assert set(rows(page("scenarios.md"), "Expectations")) == set(METRICS)


def test_the_expectations_of_the_pages_story_are_met() -> None:
    outcome = play(EXAMPLES / "story.toml", 7)
    assert outcome.is_good, "\n".join(map(str, outcome.results))


def test_a_mistake_in_the_story_is_reported_as_on_the_page(tmp_path: Path) -> None:
    late = ('at_s = 9\ndo = "remove"\ninstance = "ranker-0"', 'at_s = 10\ndo = "restart"\ninstance = "ranker-0"')
    steps = "".join(f"[[timeline]]\n{step}\n" for step in late)
    story = tmp_path / "story.toml"
    story.write_text((EXAMPLES / "story.toml").read_text("utf-8") + steps)
    with pytest.raises(ScenarioError) as caught:
        read(story)
    told = [" ".join(text.split()) for text in shown("docs/simulator/scenarios.md", "text")]  # joins lines
    assert [f"{tmp_path}/{line}" for line in told] == [str(caught.value)]


def test_the_gallery_is_on_the_page() -> None:
    found = rows(page("scenarios.md"), "The gallery")
    assert set(found) == {path.stem for path in gallery()}
    for path in gallery():
        assert read(path).title in found[path.stem]
