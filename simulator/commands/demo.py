"""The `demo` command: run a real client against a fleet with faults (`simulator.demo`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from simulator import scenario
from simulator.commands import BAD_SCENARIO, say

if TYPE_CHECKING:
    import argparse

DEFAULT_SEED = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--scenario",
        type=Path,
        default=None,
        metavar="FILE.toml|NAME",
        help="scenario to play; its expectations decide the exit code",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON at the end")
    parser.add_argument("--seed", type=int, default=None, help="seed of all random draws")


def run(options: argparse.Namespace) -> int:
    """Play a scenario; return 1 if one of its expectations was not met."""
    sys.path.insert(0, "")
    # Imported here, because most commands do not need the client, which is slow to import.
    from simulator import demo  # noqa: PLC0415
    from simulator.demo.player import client_config  # noqa: PLC0415

    try:
        story = scenario.read(options.scenario or scenario.GALLERY / "everything.toml")
        client_config(story)
    except scenario.ScenarioError as error:
        return say(error, BAD_SCENARIO)
    seed = next(seed for seed in (options.seed, story.seed, DEFAULT_SEED) if seed is not None)
    return demo.run(story, seed=seed, as_json=options.json, is_built_in=options.scenario is None)
