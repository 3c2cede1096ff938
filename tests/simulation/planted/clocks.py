"""Bugs of clients that count elapsed time, on a reactor whose clock is set."""

from __future__ import annotations

from typing import Any

from eas_tw.net.monotonic import MonotonicReactor, _Timer
from tests.simulation.planted.bugs import Patch, bug


@bug("last-good-list call-ends-once failure-explained nothing-left hedge-rules", seeds=100)
def timers_come_early_when_the_clock_is_set_ahead(patch: Patch) -> None:
    """What the reactor calls is due, whatever the time is."""

    def fire(self: Any) -> None:
        del self._pending[self]
        self._act(*self._arguments, **self._named)

    patch(_Timer, "_fire", fire)


@bug("idle-timeout last-good-list call-ends-once attempt-timeout closed-is-gone", seeds=100)
def clock_set_back_is_not_noticed(patch: Patch) -> None:
    """Every timer is as late as the clock was set back."""
    patch(MonotonicReactor, "realign", lambda self: None)
