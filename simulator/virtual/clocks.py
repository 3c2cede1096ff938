"""A client's view of its host's reactor by elapsed time, as a real client has it of a reactor whose clock can be set.

`eas_tw.net.monotonic` unchanged; what the thread of `eas_tw.net.clock_watch` does happens here in virtual time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.net.clock_watch import LONGEST_S
from eas_tw.net.monotonic import MonotonicReactor

if TYPE_CHECKING:
    from simulator.virtual.network.reactor import VirtualReactor
    from simulator.virtual.network.virtual_time import Scheduler

LOOKS_WITHIN_S = LONGEST_S
"""So late a timer may be after the clock was set back."""


class ElapsedReactor(MonotonicReactor):
    """A host's reactor by elapsed time.

    Args:
        host: Its clock may be set, and its timers go by it.
        scheduler: Knows how much time has passed.
    """

    is_watched = True

    def __init__(self, host: VirtualReactor, scheduler: Scheduler) -> None:
        super().__init__(host, scheduler.elapsed)
        self._host = host
        self._scheduler = scheduler
        self._looking: Any = None

    def start(self) -> None:
        """Look at the clock regularly, from now on; no timer of the host's, which a step back would hold up."""
        self._looking = self._scheduler.call_later(LOOKS_WITHIN_S, self._look_again)

    def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _look_again(self) -> None:
        self.start()
        self.look()

    def _wake(self) -> None:
        # A host that is stalled hears of it when it goes on.
        self._scheduler.at(max(self._scheduler.now_ns, self._host.stalled_until_ns), self.realign)
