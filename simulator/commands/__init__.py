"""The commands of `python -m simulator`, a module each; what they share is here."""

from __future__ import annotations

import sys

FAILED, USAGE, BAD_SCENARIO, UNAVAILABLE = 1, 2, 65, 69


def say(error: object, code: int) -> int:
    """Tell people what was wrong; the exit code."""
    print(f"simulator: {error}", file=sys.stderr)
    return code
