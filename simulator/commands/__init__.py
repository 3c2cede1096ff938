"""The commands of `python -m simulator`, a module each; what they share is here."""

from __future__ import annotations

import os
import sys

FAILED, USAGE, BAD_SCENARIO, UNAVAILABLE, INTERRUPTED = 1, 2, 65, 69, 130


def discard_output() -> None:
    """Send standard output nowhere, so that what is buffered for a closed pipe or a full disk fails no exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def say(error: object, code: int) -> int:
    """Tell people what was wrong; the exit code."""
    print(f"simulator: {error}", file=sys.stderr)
    return code
