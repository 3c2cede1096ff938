"""Shared parts of the commands that use the admin API of a running simulator."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from eas_tw.testing.remote import DEFAULT_URL, Remote, RemoteError, Unreachable
from simulator.commands import FAILED, UNAVAILABLE, USAGE, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

VARIABLE = "EAS_SIMULATOR_URL"


def add_url(parser: argparse.ArgumentParser) -> None:
    """Declare `--url` and `--json`."""
    parser.add_argument("--url", help=f"endpoint of the simulator (default: ${VARIABLE}, else {DEFAULT_URL})")
    parser.add_argument("--json", action="store_true", help="print JSON")


def verbs(parser: argparse.ArgumentParser) -> Callable[..., argparse.ArgumentParser]:
    """Return a function that adds a verb to a command; options may be given before the verb or after it."""
    add_url(parser)
    make = parser.add_subparsers(metavar="VERB", dest="verb").add_parser

    def add(name: str, says: str) -> argparse.ArgumentParser:
        verb = make(name, help=says, description=f"{says[0].upper()}{says[1:]}.", allow_abbrev=False)
        # SUPPRESS keeps the value that was given before the verb when the option is not repeated after the verb.
        verb.add_argument("--url", default=argparse.SUPPRESS, help="endpoint of the simulator")
        verb.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        return verb

    return add


def with_remote(options: argparse.Namespace, work: Callable[[Remote], Any]) -> int:
    """Run `work` with a connection to the simulator, and return the exit code.

    Returns:
        1. 0 on success.
        2. 1 if the simulator rejects the request.
        3. 2 if the URL is invalid.
        4. 69 if the simulator is not reachable.
    """
    try:
        remote = Remote(options.url or os.environ.get(VARIABLE, DEFAULT_URL))
    except ValueError as error:
        return say(error, USAGE)
    try:
        work(remote)
    except RemoteError as error:
        return say(error, FAILED)
    except Unreachable as error:
        return say(error, UNAVAILABLE)
    return 0


def show(options: argparse.Namespace, value: Any, lines: Callable[[], Iterable[str]]) -> None:
    """Print a value as JSON or, without `--json`, as lines of text."""
    if options.json:
        print(json.dumps(value, ensure_ascii=False), flush=True)
        return
    for line in lines():
        print(line, flush=True)


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Format a table whose columns are as wide as their content; numbers are right-aligned."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    numeric = [all(_is_number(row[at]) for row in cells) for at in range(len(titles))]
    return [_line(row, widths, numeric) for row in [list(titles), *cells]]


def _line(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = zip(row, widths, numeric, strict=True)
    return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in padded).rstrip()


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
