"""The `completion` command: print a script that completes `eas-simulator` in a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.shell_completion import SHELLS, script

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(options: argparse.Namespace) -> int:
    """Print the script for the whole command line."""
    print(script(options.whole_parser(), "eas-simulator", options.shell), end="")
    return 0
