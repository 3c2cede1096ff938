"""Time limits for tests, and waiting for a condition."""

from __future__ import annotations

import time  # noqa: TID251  the bound on a wait for another process
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 120.0
"""Maximum time of a wait for another process, thread or socket, in seconds.

A wait reaches this limit only because of a defect, also on a slow machine. If a test asserts that nothing waits for a
fault, the fault lasts longer than this limit, for example a processor that sleeps for an hour.
"""
PATIENT: dict[str, float] = {
    "timeout_s": PATIENCE_S,
    "connect_timeout_s": PATIENCE_S,
    "discovery_timeout_s": PATIENCE_S,
    "init_timeout_s": PATIENCE_S,
}
"""Settings of a client with such long timeouts that a slow machine causes neither late calls nor hedges."""
HOUR_MS = 3_600_000
"""An hour in milliseconds, for faults that must still be active at the end of the test."""


def until(look: Callable[[], Any]) -> Any:
    """Call `look` until its result is true, and return this result.

    Args:
        look: Called every 5 ms.

    Raises:
        AssertionError: No result was true within `PATIENCE_S`.
    """
    ends = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < ends, f"not true within {PATIENCE_S} s"
        time.sleep(0.005)  # let the other process or thread run
    return found
