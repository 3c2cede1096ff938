"""The requests of a run: one request for all calls, or the lines of a file in turn."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError
from eas_tw.cli.files import read
from eas_tw.cli.predict import json_body, prepare

if TYPE_CHECKING:
    import argparse


def requests_of(options: argparse.Namespace) -> tuple[Any, ...]:
    """Read the requests of a run.

    Args:
        options: The flags. `bodies` is a file with one body in each line; without it there is one request, as for
            `eas-tw predict`.

    Raises:
        ConfigError: The flags contradict each other, or the file has no body.
        BodyError: A body is not valid; the message has its line number.
        OSError: A file cannot be read.
    """
    if options.bodies is None:
        return (prepare(options),)
    if options.body is not None or options.file is not None or options.tensor:
        raise ConfigError("give --bodies or one of BODY, --file and --tensor")
    bodies = []
    for number, line in enumerate(read(options.bodies).removeprefix(BOM_UTF8).splitlines(), 1):
        if not line.strip():
            continue
        bodies.append(json_body(line, f"{options.bodies}:{number}: the body") if options.json else line)
    if not bodies:
        raise ConfigError(f"--bodies: {options.bodies} has no line with a body")
    return tuple(bodies)
