"""The `simulate` command: draw the plan of one seed, run it, and print the result."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from simulator.commands import FAILED, USAGE, say

if TYPE_CHECKING:
    from simulator.virtual.plan import RunPlan
    from simulator.virtual.world import World

_MAX_HOURS = 10_000  # about 14 months


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--seed", type=int, required=True, help="any integer; it determines the run")
    add_choice(parser)
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON at the end")


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that select a run in addition to its seed."""
    parser.add_argument("--profile", default="chaos", help="calm, chaos, discovery, rolling, overload, big or storm")
    parser.add_argument(
        "--hours", type=_hours, default=0.1, help="approximate length of a run, in virtual hours (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the seed; return 1 on a violation."""
    # Imported here, so that a wrong command line is reported before Twisted is imported.
    from simulator.virtual.nemesis import draw  # noqa: PLC0415
    from simulator.virtual.reporting.report import replay_line  # noqa: PLC0415

    try:
        plan = draw(options.seed, options.profile, options.hours)
    except ValueError as error:
        return say(error, USAGE)
    return play(plan, replay_line(plan, options.hours), as_json=options.json)


def play(plan: RunPlan, replay: str, *, as_json: bool) -> int:
    """Run a plan and print its result; return 1 on a violation."""
    from simulator.virtual.reporting.report import account, explain  # noqa: PLC0415
    from simulator.virtual.world import World  # noqa: PLC0415

    live = sys.stdout.isatty()
    result = World(plan, progress=_show if live else None).run()
    if live:
        print("\r\x1b[2K", end="")
    if result.violations:
        print("\n".join(explain(result, replay)))
    print("\n".join(account(result)))
    if as_json:
        print(json.dumps(result.to_json()))
    return FAILED if result.violations else 0


def _show(phase: str, world: World) -> None:
    now_s: Any = world.scheduler.elapsed()
    calls = sum(sut.calls for sut in world.clients_under_test)
    retries = sum(sut.retries for sut in world.clients_under_test)
    line = f"{phase:<9} {now_s:8.0f} s   {calls} calls   {retries} retries   {sum(world.faults.values())} faults"
    print(f"\r\x1b[2K{line}", end="", flush=True)


def _hours(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < _MAX_HOURS:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number > 0 and < {_MAX_HOURS}, got {text!r}")
