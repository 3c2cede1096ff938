"""Checks the work of a client in one iteration (turn) of its reactor, measured in function calls.

The number of function calls is deterministic, unlike CPU time. The check is active only while discovery returns a long
list, because counting more than doubles the CPU time. A turn may parse one part of a list, or apply a list with a
bounded cost per instance. Parsing thousands of rows in one turn exceeds both bounds.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

MOST_CALLS = 45_000
"""Greatest number of calls in a turn.

Parsing a part of a list takes 25,000 calls if all its rows are invalid. The turn that parses the first part also
receives the end of the reply, which may have arrived in many pieces.
"""
MOST_PER_INSTANCE = 15
"""Additional calls for each instance of a list that the turn has applied; 12 are needed."""
MOST_PER_ATTEMPT = 300
"""Additional calls for each attempt that has ended. All calls that wait in a pool move on when its instance fails."""


class Meter:
    """Counts the function calls of one host in each turn.

    Args:
        lists: Returns the instance lists of the host's clients; a list that has not changed is the same object.
        attempts: Returns the number of attempts that the host's clients have ended.
        exceeded: Called with the number of function calls of a turn that exceeds the bound.
    """

    def __init__(
        self,
        lists: Callable[[], Sequence[Sequence[Any]]],
        attempts: Callable[[], int],
        exceeded: Callable[[int], None],
    ) -> None:
        self._lists = lists
        self._attempts = attempts
        self._exceeded = exceeded
        self._not_applied = 0

    def raised(self, instances: int) -> None:
        """Handle an exception while a list of `instances` instances was applied; a part may be applied."""
        self._not_applied += instances

    def run(self, act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call `act` as one turn, and count the function calls in it."""
        calls, before, profiler = 0, self._lists(), sys.getprofile()
        attempts_before = self._attempts()
        self._not_applied = 0

        def count(frame: FrameType, event: str, _: Any) -> None:
            nonlocal calls
            # The simulation itself does not count: hundreds of calls may end in a turn, and each is checked.
            if event in ("call", "c_call") and not str(frame.f_globals.get("__name__")).startswith("simulator."):
                calls += 1

        sys.setprofile(count)
        try:
            return act(*arguments, **named)
        finally:
            sys.setprofile(profiler)
            if calls > MOST_CALLS:
                self._check(calls, before, self._attempts() - attempts_before)

    def _check(self, calls: int, before: Sequence[Sequence[Any]], attempts: int) -> None:
        pairs = zip(before, self._lists(), strict=True)
        applied = sum(max(len(old), len(new)) for old, new in pairs if old is not new) + self._not_applied
        if calls > MOST_CALLS + MOST_PER_INSTANCE * applied + MOST_PER_ATTEMPT * attempts:
            self._exceeded(calls)
