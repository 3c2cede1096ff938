"""The command line: a table of commands, each a module of its own that is imported when it is asked for.

A command's module is `simulator.commands.NAME` and has two functions: `add_arguments(parser)` and `run(options)`, which
answers the exit code. Exit codes: 0 clean, 1 failed or refused, 2 usage, 65 bad scenario, 69 cannot listen or nobody
listens, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from simulator.commands import FAILED, INTERRUPTED, discard_output, flush_output, replace_closed_streams, say
from simulator.ready_file import remove_stale_in

if TYPE_CHECKING:
    from collections.abc import Sequence

_OUTPUT_FAILS = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
COMMANDS = {
    "serve": "run the simulator",
    "demo": "a real client against a fleet that crashes",
    "check": "validate a scenario",
    "status": "a running simulator at a glance",
    "instances": "look at instances; crash, hang, drain, restart, reweigh them",
    "faults": "look at the faults at work, add and remove them",
    "requests": "what reached the instances",
    "reset": "a running simulator back to its beginning",
    "record": "forward requests to a real service, and record what passes",
    "openapi": "print the admin API's document",
    "simulate": "one seed of the virtual world",
    "soak": "many seeds, on several processes",
    "replay": "a plan from a file",
    "shrink": "the smallest plan with which a seed fails",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
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
        finally:  # of `--help` and `--version` too, which raise SystemExit
            flush_output()
    except BrokenPipeError:
        # Whoever read our output has enough of it, as `head` does.
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
    """What must not wait until everything is imported and parsed."""
    remove_stale_in(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Nothing listens and nothing is written yet; what serves has handlers of its own.
        signal.signal(number, lambda *_: os._exit(0))


class _SimulatorVersion(argparse.Action):
    """Asked for only then: the metadata of an installation are slow to read, and a source tree has none."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415  40 ms

        print(f"eas-simulator {version('eas-tw')}")
        parser.exit()


def _parser(chosen: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator", description="A fake PAI-EAS. Without a command: serve.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_SimulatorVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, says in COMMANDS.items():
        command = commands.add_parser(name, help=says, description=f"{says[0].upper()}{says[1:]}.", allow_abbrev=False)
        if name == chosen:
            module = import_module(f"simulator.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run, parser=command)
    return parser
