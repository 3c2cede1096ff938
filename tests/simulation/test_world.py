"""Whole runs: no violation without faults, and the same seed gives the same run."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref

import pytest

from simulator.scenario_model import ScenarioError
from simulator.virtual.nemesis import DEFAULT_HOURS, draw
from simulator.virtual.plan import PROFILES, PlannedFault, RunPlan
from simulator.virtual.plan_reader import parse
from simulator.virtual.world import World

ASK = (
    "import gc, sys; {gc}\n"
    "from simulator.virtual.nemesis import draw\nfrom simulator.virtual.world import World\n"
    "print(*(World(draw(seed, 'chaos', {hours})).run().digest for seed in (1, 2, 3)))"
)

RAISE = (
    "from twisted.logger import Logger\n"
    "from simulator.virtual.plan import RunPlan, PlannedFault\nfrom simulator.virtual.world import World\n"
    "fault = PlannedFault(0.0, 'listener_raises', -1, 2.0, {'error': 'ValueError', 'probability': 1.0})\n"
    "world = World(RunPlan(1, chaos_s=2.0, is_heard=True, steps=(fault,)))\nassert not world.run().violations\n"
    "print(world.clients_under_test[0].reactor.failing.raised['listen'])\nLogger().critical('after the run')"
)


def digests(hash_seed: str, collector: str, hours: float) -> list[str]:
    """Return the hashes of three runs in a separate process."""
    asked = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-W", "error", "-c", ASK.format(gc=collector, hours=hours)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return asked.stdout.split()


@pytest.mark.parametrize("hours", [0.01, pytest.param(0.05, marks=pytest.mark.long)])
def test_the_same_seed_is_the_same_run(hours: float) -> None:
    here = [World(draw(seed, "chaos", hours)).run().digest for seed in (1, 2, 3)]
    assert digests("1", "gc.set_threshold(5)", hours) == digests("4242", "gc.disable()", hours) == here
    assert len(set(here)) == 3


def test_exceptions_raised_by_faults_are_not_printed() -> None:
    asked = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", RAISE], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(asked.stdout) > 0
    assert asked.stderr == "after the run\n"


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_world_is_freed_after_its_run(*, is_frozen: bool) -> None:
    """A soak calls `gc.freeze` and runs thousands of worlds; each world once leaked over a megabyte."""
    if is_frozen:
        gc.freeze()
    try:
        world = World(RunPlan(1, chaos_s=1.0))
        gone = weakref.ref(world)
        world.run()
        del world
        gc.collect()
        assert gone() is None
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    ("seed", "hours"), [(0, 0.04), *(pytest.param(seed, DEFAULT_HOURS, marks=pytest.mark.long) for seed in (0, 1, 2))]
)
@pytest.mark.parametrize("profile", [profile for profile in PROFILES if profile != "big"])
def test_a_few_seeds_of_every_profile(profile: str, seed: int, hours: float) -> None:
    result = World(draw(seed, profile, hours)).run()
    assert result.violations == ()
    assert result.calls > 100
    assert profile != "calm" or not (result.retries or result.failed)
    assert profile == "calm" or result.faults


def test_a_plan_read_from_its_file_gives_the_same_run() -> None:
    plan = draw(5, "chaos", 0.03)
    again = parse(plan.to_toml())
    assert again.to_toml() == plan.to_toml()
    assert World(again).run().digest == World(plan).run().digest


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5000])
def test_a_plan_that_the_parser_gives_up_on_is_a_scenario_error(value: str) -> None:
    with pytest.raises(ScenarioError):
        parse(f"seed = {value}")


@pytest.mark.parametrize("seed", [10**30, -(10**30)])
def test_a_seed_may_be_any_integer(seed: int) -> None:
    assert World(draw(seed, "chaos", 0.01)).run().violations == ()


def test_the_json_of_a_result_has_the_documented_fields() -> None:
    told = json.loads(json.dumps(World(draw(1, "calm", 0.02)).run().to_json()))
    assert told["seed"] == 1
    assert {"seed", "profile", "hash", "simulated_s", "calls", "lost", "violations", "faults"} <= told.keys()


def test_an_instance_that_was_down_for_minutes_is_used_again() -> None:
    """An instance is down for 250 s: no call fails, and no checker reports a violation, before or after its return."""
    plan = RunPlan(1, chaos_s=300.0, steps=(PlannedFault(1.0, "crash", 0, 250.0), PlannedFault(20.0, "crash", 1, 30.0)))
    result = World(plan).run()
    assert result.violations == ()
    assert result.failed == 0
    assert result.retries["connect_refused"] > 3
