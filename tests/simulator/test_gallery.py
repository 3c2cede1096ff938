"""Each scenario of the gallery runs on a virtual clock with the real client, and meets its expectations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from simulator.demo.player import DemoOutcome, Player
from simulator.scenario import find, gallery, read
from simulator.virtual.network.network import Network
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.network.virtual_time import Scheduler

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


class Silent:
    """A screen of the demo without output."""

    def begins(self) -> None: ...
    def turned(self, step: Any) -> None: ...
    def draw(self) -> None: ...
    def ended(self) -> None: ...


def play(path: Path, seed: int) -> DemoOutcome:
    scenario, scheduler = read(path), Scheduler(seed)
    network = Network(scheduler)
    player = Player(
        scenario,
        reactor=VirtualReactor(network, SERVER),
        seed=seed,
        client_reactor=VirtualReactor(network, CLIENT),
        host=SERVER,
    )
    ends: list[Any] = []
    Deferred.fromCoroutine(player.play(Silent())).addBoth(ends.append)
    assert scheduler.run_until(lambda: bool(ends), scenario.length_s + 60)
    if isinstance(ends[0], Failure):
        ends[0].raiseException()
    scheduler.run_for(60)
    assert not scheduler.errors
    assert not scheduler.pending
    return ends[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", gallery(), ids=lambda path: path.stem)
def test_a_scenario_meets_its_expectations(path: Path) -> None:
    scenario = read(path)
    assert scenario.title
    assert len(scenario.story.split()) > 30
    assert len(scenario.expectations) >= 2
    outcome = play(path, scenario.seed or 0)
    assert outcome.is_good, "\n".join(map(str, outcome.results))


@pytest.mark.parametrize("name", ["grey_failure", "flapping_discovery"])
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    first, again, other = (play(find(Path(name)), seed).account for seed in (5, 5, 6))
    assert first == again
    assert first.calls != other.calls
