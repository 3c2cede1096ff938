"""The options and the output that the benchmark programs share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments import machine

if TYPE_CHECKING:
    from quiet import Quiet


def parser(text: str | None, peers: Collection[str], *, runs: int, environments: Path) -> argparse.ArgumentParser:
    """Make a parser with the options of every program.

    Args:
        text: The description.
        peers: The programs that are compared, unless `--only` names others.
        runs: The default of `--runs`.
        environments: The folder of the peers' virtual environments.
    """
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", default=",".join(peers), help="programs to compare (default: %(default)s)")
    made.add_argument("--runs", type=int, default=runs, help="runs of each program, interleaved (default: %(default)s)")
    made.add_argument("--json", action="store_true", help="print the figures as JSON")
    made.add_argument("--output", type=Path, help="write the figures to this file, also those of a busy machine")
    made.add_argument("--busy", action="store_true", help="also print the figures of a busy machine")
    made.add_argument("--environments", type=Path, default=environments, help="the folder of the virtual environments")
    return made


def parse(made: argparse.ArgumentParser, peers: Collection[str]) -> argparse.Namespace:
    """Parse the command line; exit with an error if `--only` names no peer."""
    given = made.parse_args()
    unknown = set(given.only.split(",")) - set(peers)
    if unknown:
        made.error(f"--only: no peer {', '.join(sorted(unknown))}; there is {', '.join(peers)}")
    return given


def publish(given: argparse.Namespace, quiet: Quiet, figures: dict[str, Any], table: Iterable[str]) -> None:
    """Write the figures to `--output`, and print the table, or with `--json` the figures.

    If the machine was busy, nothing is printed, and the program ends with exit code 3, unless `--busy` is given.
    """
    found = {"machine": machine(), "quiet": quiet.as_dict(), **figures}
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    quiet.require(is_busy_allowed=given.busy)
    print(json.dumps(found) if given.json else "\n".join([machine(), "", *table]))
