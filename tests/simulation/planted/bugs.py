"""What a planted bug is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Patch = Callable[[Any, str, Any], None]


class Bug(NamedTuple):
    plant: Callable[[Patch], None]
    profile: str
    seeds: int
    checkers: tuple[str, ...]


BUGS: dict[str, Bug] = {}


def bug(checkers: str, profile: str = "chaos", seeds: int = 10) -> Callable[[Callable[[Patch], None]], None]:
    """A planted bug, and what has to find it.

    Args:
        checkers: Names, with spaces between them.
        profile: Where it is looked for.
        seeds: Within how many it must be found.
    """
    found = tuple(checkers.split())

    def keep(plant: Callable[[Patch], None]) -> None:
        BUGS[plant.__name__] = Bug(plant, profile, seeds, found)

    return keep
