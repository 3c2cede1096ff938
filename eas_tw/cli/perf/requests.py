"""What the calls of a run send: one request, or the lines of a file in turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eas_tw import BodyError, ConfigError
from eas_tw.cli.predict import prepare

if TYPE_CHECKING:
    import argparse


def requests_of(options: argparse.Namespace) -> tuple[Any, ...]:
    """Read the requests of a run.

    Args:
        options: The flags. `bodies` is a file with one body a line; without it there is one request, as for
            `eas-tw predict`.

    Raises:
        ConfigError: The flags contradict each other, or the file has no line.
        BodyError: A body is not valid; the message has its line.
        OSError: A file cannot be read.
    """
    if options.bodies is None:
        return (prepare(options),)
    if options.body is not None or options.file is not None or options.tensor:
        raise ConfigError("give --bodies or one of BODY, --file and --tensor")
    bodies = []
    for number, line in enumerate(options.bodies.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        if options.json:
            try:
                json.loads(line)
            except ValueError as error:
                raise BodyError(f"{options.bodies}:{number}: the body is not JSON: {error}") from None
        bodies.append(line)
    if not bodies:
        raise ConfigError(f"--bodies: {options.bodies} has no line with a body")
    return tuple(bodies)
