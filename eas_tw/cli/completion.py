"""The command `eas-tw completion`, which prints a script that completes `eas-tw` in a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.shell_completion import SHELLS, script

if TYPE_CHECKING:
    import argparse

DESCRIPTION = "Print a script that completes eas-tw in a shell, such as: source <(eas-tw completion bash)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def show(parser: argparse.ArgumentParser, shell: str) -> None:
    """Print the script, for a parser with the arguments of all commands."""
    print(script(parser, "eas-tw", shell), end="")
