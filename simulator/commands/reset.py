"""The `reset` command: return a running simulator to its initial state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.commands.remotely import add_url, show, with_remote

if TYPE_CHECKING:
    import argparse

    from eas_tw.testing.remote import Remote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_url(parser)
    parser.add_argument("--seed", type=int, default=None, help="new seed (default: the present one)")


def run(options: argparse.Namespace) -> int:
    """Reset the simulator."""

    def work(remote: Remote) -> None:
        seed = remote.reset(options.seed)
        show(options, {"seed": seed}, lambda: [f"reset to the initial state, with seed {seed}"])

    return with_remote(options, work)
