"""The command line: a table of commands. Each command has its own module, imported only when the command is used.

A command's module is `simulator.commands.NAME` and has two functions: `add_arguments(parser)`, and `run(options)`,
which returns the exit code.

The exit codes:

- 0: success.
- 1: the command failed, or the simulator rejected a request.
- 2: wrong usage.
- 65: the scenario, recording or plan cannot be read, or is invalid.
- 69: a port cannot be opened for listening, or no simulator listens at the URL.
- 130: interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eas_tw.argument_parser import ArgumentParser
from simulator.commands import FAILED, INTERRUPTED, discard_output, flush_output, replace_closed_streams, say
from simulator.ready_file import remove_stale_in

if TYPE_CHECKING:
    from collections.abc import Sequence

_OUTPUT_FAILS = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
COMMANDS = {
    "serve": "run the simulator",
    "demo": "run a real client against a fleet with faults",
    "check": "validate a scenario",
    "status": "show a summary of a running simulator",
    "instances": "list instances, and crash, hang, drain, restart or reweigh them",
    "faults": "list, add and remove faults",
    "requests": "list the requests that reached instances",
    "reset": "return a running simulator to its initial state",
    "record": "forward requests to a real service, and record them with their responses",
    "openapi": "print the OpenAPI document of the admin API",
    "simulate": "run one seed of the simulation",
    "soak": "run many seeds on several processes",
    "replay": "run a plan from a file",
    "shrink": "find the smallest plan with which a seed fails",
    "completion": "print a completion script for eas-simulator",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    replace_closed_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "--version")):
        given.insert(0, "serve")
    if given[0] == "serve":
        _begin_to_serve(given)
    try:
        try:
            options = _parser(given[0]).parse_args(given)
            return int(options.run(options) or 0)
        finally:  # also after `--help` and `--version`, which raise SystemExit
            flush_output()
    except BrokenPipeError:
        # A reader such as `head` closes the pipe when it has read enough. That is not an error.
        discard_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT_FAILS:
            raise
        discard_output()
        return say(f"cannot write to standard output: {error.strerror}", FAILED)


def _begin_to_serve(arguments: Sequence[str]) -> None:
    """Remove a stale ready file and handle signals, before the slow imports and the parsing of the command line."""
    remove_stale_in(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        # The process can exit immediately, because nothing listens and nothing has been written yet. `serve` replaces
        # this handler.
        signal.signal(number, lambda *_: os._exit(0))


class _SimulatorVersion(argparse.Action):
    """Print the version. It is read only on request: reading metadata is slow, and a source tree has no metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415  40 ms

        print(f"eas-simulator {version('eas-tw')}")
        parser.exit()


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser with the arguments of all commands."""
    return _parser(None)


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser with the arguments of one command, or of all commands for `None`."""
    parser = ArgumentParser(
        prog="python -m simulator", description="A PAI-EAS simulator. Without a command: serve.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_SimulatorVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, says in COMMANDS.items():
        command = commands.add_parser(name, help=says, description=f"{says[0].upper()}{says[1:]}.", allow_abbrev=False)
        if chosen in (name, None):
            module = import_module(f"simulator.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run, parser=command, whole_parser=whole_parser)
    return parser
