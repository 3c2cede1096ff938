"""The pages on the simulator list its fault kinds, verbs, metrics and the files of the gallery."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from simulator.cli import COMMANDS
from simulator.expectations import METRICS
from simulator.fault_kinds import MALFORMED, ON_DISCOVERY, ON_INSTANCES
from simulator.fault_registry import QUEUE_MOMENTS
from simulator.faults import Fault, FaultError
from simulator.scenario import ScenarioError, gallery, read
from simulator.timeline import VERBS
from tests.docs.pages import EXAMPLES
from tests.docs.test_shown import shown
from tests.simulator.test_gallery import play
from tests.simulator.world import World

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


@pytest.mark.parametrize(("title", "kinds"), [("On instances", ON_INSTANCES), ("On discovery", ON_DISCOVERY)])
def test_every_type_of_fault_is_described_with_every_attribute(title: str, kinds: dict[str, object]) -> None:
    found = rows(page("faults.md"), title)
    assert list(found) == list(kinds)
    for name, kind in kinds.items():
        attributes = set(re.findall(r"`([^`]+)`", found[name].rpartition(" | ")[2].partition(" |")[0]))
        assert set(kind.attributes) <= attributes  # type: ignore[attr-defined]


def test_the_page_of_queues_has_each_fault_of_queues() -> None:
    assert set(rows(page("queues.md"), "Faults")) == set(QUEUE_MOMENTS)


def test_the_services_of_the_page_of_queues_are_valid() -> None:
    first, second = read(EXAMPLES / "queues.toml").services
    assert (first.queue_workers, second.queue_workers) == (True, False)


def test_every_malformed_response_is_described() -> None:
    assert set(rows(page("faults.md"), "What a malformed response can be")) == set(MALFORMED)


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
    told = [" ".join(text.split()) for text in shown("docs/simulator/scenarios.md", "text")]  # the page wraps it
    assert [f"{tmp_path}/{line}" for line in told] == [str(caught.value)]


def test_the_gallery_is_on_the_page() -> None:
    found = rows(page("scenarios.md"), "The gallery")
    assert set(found) == {path.stem for path in gallery()}
    for path in gallery():
        assert read(path).title in found[path.stem]
