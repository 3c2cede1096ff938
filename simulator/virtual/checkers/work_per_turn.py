"""How much a client does in one turn of its reactor: calls of functions, counted and not timed.

On while a list of many rows is told, since it costs as much again. A turn may do a step of reading, or apply a list
whose instances each have their share; a whole list of thousands of rows at once is more than either.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_CALLS = 45_000
"""In a turn. A step of reading a list takes 25,000 when all its rows are bad ones; with the first of them a reply ends,
which may have come in many pieces."""
MOST_PER_INSTANCE = 15
"""More, for each instance of a list that a turn has applied: 12 are needed."""


class Meter:
    """Counts what one host does in a turn.

    Args:
        lists: The lists of its clients, each the same object until it changes.
        exceeded: Told how many calls a turn has taken, when they were too many.
    """

    def __init__(self, lists: Callable[[], Sequence[Sequence[Any]]], exceeded: Callable[[int], None]) -> None:
        self._lists = lists
        self._exceeded = exceeded

    def run(self, act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Do what a turn does."""
        calls, before, profiler = 0, self._lists(), sys.getprofile()

        def count(_: Any, event: str, __: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            return act(*arguments, **named)
        finally:
            sys.setprofile(profiler)
            if calls > MOST_CALLS:
                self._check(calls, before)

    def _check(self, calls: int, before: Sequence[Sequence[Any]]) -> None:
        pairs = zip(before, self._lists(), strict=True)
        applied = sum(max(len(old), len(new)) for old, new in pairs if old is not new)
        if calls > MOST_CALLS + MOST_PER_INSTANCE * applied:
            self._exceeded(calls)
