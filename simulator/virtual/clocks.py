"""A reactor whose timers use elapsed time, for clients on a host whose clock can be set.

The reactor uses `eas_tw.net.monotonic` unchanged. Scheduled events replace the thread of `eas_tw.net.clock_watch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.net.clock_watch import LONGEST_S
from eas_tw.net.monotonic import MonotonicReactor

if TYPE_CHECKING:
    from simulator.virtual.network.reactor import VirtualReactor
    from simulator.virtual.network.virtual_time import Scheduler

LOOKS_WITHIN_S = LONGEST_S
"""Greatest delay of a timer after the clock was set back, in seconds."""


class ElapsedReactor(MonotonicReactor):
    """A host's reactor whose timers use elapsed time.

    Args:
        host: Reactor whose clock may be set, and whose timers follow it.
        scheduler: Provides the elapsed time.
    """

    is_watched = True

    def __init__(self, host: VirtualReactor, scheduler: Scheduler) -> None:
        super().__init__(host, scheduler.elapsed)
        self._host = host
        self._scheduler = scheduler
        self._looking: Any = None

    def start(self) -> None:
        """Start to check the clock periodically.

        The scheduler triggers the checks, because a clock that is set back delays the timers of the host.
        """
        self._looking = self._scheduler.call_later(LOOKS_WITHIN_S, self._look_again)

    def stop(self) -> None:
        """Stop checking the clock."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _look_again(self) -> None:
        self.start()
        self.look()

    def _wake(self) -> None:
        # A stalled host can detect the change of its clock only after the stall.
        self._scheduler.at(max(self._scheduler.now_ns, self._host.stalled_until_ns), self.realign)
