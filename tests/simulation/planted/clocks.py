"""Bugs of timers by elapsed time, on a reactor whose clock is set."""

from __future__ import annotations

from typing import Any

from eas_tw.net.monotonic import MonotonicReactor, _Timer
from tests.simulation.planted.bugs import Patch, bug


@bug("last-good-list call-ends-once failure-explained nothing-left hedge-rules", seeds=100)
def timers_fire_early_when_the_clock_is_set_ahead(patch: Patch) -> None:
    """A timer runs when the reactor calls it, without a check of the elapsed time."""

    def fire(self: Any) -> None:
        del self._pending[self]
        self._act(*self._arguments, **self._named)

    patch(_Timer, "_fire", fire)


@bug("idle-timeout last-good-list call-ends-once attempt-timeout closed-is-gone", seeds=100)
def clock_set_back_not_detected(patch: Patch) -> None:
    """When the clock was set back, every timer fires late by the difference."""
    patch(MonotonicReactor, "realign", lambda self: None)
