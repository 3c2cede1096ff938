"""`check`: whether a file is a scenario."""

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
    """What it takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a scenario, or the name of one in the gallery")


def run(options: argparse.Namespace) -> int:
    """Read it; 65 when it is not one."""
    SEARCH_PATH.append(os.getcwd())  # noqa: PTH109  an entry of sys.path is a string
    # Imported here: what a client can be told, the client knows.
    from simulator.demo.player import client_config  # noqa: PLC0415

    try:
        found = scenario.read(options.file)
        client_config(found)
    except scenario.ScenarioError as error:
        return say(error, BAD_SCENARIO)
    print(
        f"{options.file}: good; {len(found.services)} services, {len(found.timeline)} steps, "
        f"{len(found.expectations)} expectations"
    )
    if found.title:
        print(f"\n{found.title}\n{found.story.rstrip()}\n")
    for step in found.timeline:
        print(f"{step.at_s:7.1f} s  {step}")
    for expectation in found.expectations:
        print(f"   expect  {expectation}")
    return 0
