"""The `check` command: validate a scenario file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from simulator import scenario
from simulator.commands import BAD_SCENARIO, say
from simulator.processors import SEARCH_PATH

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="scenario file, or the name of a built-in scenario")


def run(options: argparse.Namespace) -> int:
    """Validate the file; return 65 if it is not a valid scenario."""
    SEARCH_PATH.append(os.getcwd())  # noqa: PTH109  an entry of sys.path is a string
    # Imported here, because the module imports the client, which is slow. The client validates the table `[client]`.
    from simulator.demo.player import client_config  # noqa: PLC0415

    try:
        found = scenario.read(options.file)
        client_config(found)
    except scenario.ScenarioError as error:
        return say(error, BAD_SCENARIO)
    print(
        f"{options.file}: valid; {len(found.services)} services, {len(found.timeline)} steps, "
        f"{len(found.expectations)} expectations"
    )
    if found.title:
        print(f"\n{found.title}\n{found.story.rstrip()}\n")
    for step in found.timeline:
        print(f"{step.at_s:7.1f} s  {step}")
    for expectation in found.expectations:
        print(f"   expect  {expectation}")
    return 0
