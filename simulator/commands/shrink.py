"""The `shrink` command: find the smallest plan with which a failing seed still fails, and write it for `replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.commands import USAGE, say
from simulator.commands.simulate import add_choice

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--seed", type=int, required=True, help="failing seed")
    add_choice(parser)
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="file to which the plan is written")


def run(options: argparse.Namespace) -> int:
    """Shrink the plan and write it; return 2 if the seed does not fail, or the profile is unknown."""
    from simulator.virtual.nemesis import draw  # noqa: PLC0415
    from simulator.virtual.shrink import NothingToShrinkError, Shrinker  # noqa: PLC0415
    from simulator.virtual.world import World  # noqa: PLC0415

    def show(runs: int, faults: int) -> None:
        print(f"\r\x1b[2Krun {runs}: {faults} faults left", end="", file=sys.stderr, flush=True)

    live = sys.stderr.isatty()
    try:
        plan = draw(options.seed, options.profile, options.hours)
        smallest, result = Shrinker(lambda plan: World(plan).run(), show if live else None).shrink(plan)
    except NothingToShrinkError as error:
        return say(error, USAGE)
    except ValueError as error:
        return say(error, USAGE)
    out = options.out or Path(f"seed-{options.seed}.toml")
    out.write_text(f"# {result.violations[0]}\n{smallest.to_toml()}", "utf-8")
    print(f"{len(plan.steps)} faults, {len(smallest.steps)} of which are needed: {result.violations[0]}")
    print(f"python -m simulator replay {out}")
    return 0
