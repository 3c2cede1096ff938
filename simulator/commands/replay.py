"""The `replay` command: run a plan from a file, such as one written by `shrink`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simulator.commands import BAD_SCENARIO, say

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="plan file, as written by shrink")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON at the end")


def run(options: argparse.Namespace) -> int:
    """Run the plan; return 1 on a violation."""
    from simulator.commands.simulate import play  # noqa: PLC0415
    from simulator.scenario_model import ScenarioError  # noqa: PLC0415
    from simulator.virtual.plan_reader import read  # noqa: PLC0415

    try:
        return play(read(options.file), f"python -m simulator replay {options.file}", as_json=options.json)
    except ScenarioError as error:
        return say(f"{options.file}: {error}", BAD_SCENARIO)
