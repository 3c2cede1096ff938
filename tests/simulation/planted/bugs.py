"""The registry of planted bugs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Patch = Callable[[Any, str, Any], None]


class Bug(NamedTuple):
    """A planted bug.

    Attributes:
        plant: Patches the bug into the client.
        profile: The profile of the runs.
        seeds: The number of seeds, from 0, one of which must find the bug.
        checkers: Names of the checkers that may report it.
    """

    plant: Callable[[Patch], None]
    profile: str
    seeds: int
    checkers: tuple[str, ...]


BUGS: dict[str, Bug] = {}


def bug(checkers: str, profile: str = "chaos", seeds: int = 10) -> Callable[[Callable[[Patch], None]], None]:
    """Register a planted bug under the name of the decorated function.

    Args:
        checkers: Names of the checkers that may report it, separated by spaces.
        profile: The profile of the runs.
        seeds: The number of seeds, from 0, one of which must find the bug.
    """
    found = tuple(checkers.split())

    def keep(plant: Callable[[Patch], None]) -> None:
        BUGS[plant.__name__] = Bug(plant, profile, seeds, found)

    return keep
