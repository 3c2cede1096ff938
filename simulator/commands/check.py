"""`check`: whether a file is a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simulator import scenario
from simulator.commands import BAD_SCENARIO, say

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a scenario")


def run(options: argparse.Namespace) -> int:
    """Read it; 65 when it is not one."""
    try:
        found = scenario.read(options.file)
    except scenario.ScenarioError as error:
        return say(error, BAD_SCENARIO)
    print(f"{options.file}: good; {len(found.services)} services")
    return 0
