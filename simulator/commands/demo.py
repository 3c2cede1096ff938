"""`demo`: see `simulator.demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument(
        "--seed", type=int, default=7, help="of everything that is left to chance (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Play the demo; 1 when a call was lost."""
    # Imported here: only this command needs the client.
    from simulator.demo import run  # noqa: PLC0415

    return run(seed=options.seed, as_json=options.json)
