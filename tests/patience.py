"""Time limits of tests, and waiting for a condition."""

from __future__ import annotations

import time  # noqa: TID251  the bound on a wait for another process
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 120.0
"""Bound on every wait for another process, thread or socket.

Only a defect reaches it, never a slow machine: so no test passes or fails by how fast the machine is. What a test must
not wait for has to last longer than this (a processor that sleeps for an hour, a deadline of an hour).
"""
PATIENT: dict[str, float] = {
    "timeout_s": PATIENCE_S,
    "connect_timeout_s": PATIENCE_S,
    "discovery_timeout_s": PATIENCE_S,
    "init_timeout_s": PATIENCE_S,
}
"""Settings of a client whose calls are not late because the machine is slow, nor hedged for that."""
HOUR_MS = 3_600_000
"""For faults that must still be at work when the test ends."""


def until(look: Callable[[], Any]) -> Any:
    """Call `look` until its result is true, and return that.

    Args:
        look: Called again and again, without a pause when it waits for an answer itself.

    Raises:
        AssertionError: It was not true within `PATIENCE_S`.
    """
    ends = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.005)  # gives the other process or thread its time
    return found
