"""Rate limit for opening connections: a maximum number in each turn of the reactor.

Opening a connection takes about 0.2 ms of CPU between `connectTCP` and the first request on it. If thousands of
connections were started in one turn, after a start or a change of the list, they would be established in the same later
turn, and block the reactor for seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

# 0.1 s is long enough to open the connections of a burst, and short enough that a connection after the burst is not
# delayed.
_BURST_S = 0.1


class Dial(Protocol):
    """A connection to be opened."""

    def connect(self) -> None:
        """Start to open the connection."""


class Dialer:
    """Starts connections in the order of submission: up to 50 immediately, the rest in later turns.

    Args:
        clock: The reactor.
    """

    PER_TURN = 50
    """Maximum number of connections started in a turn, about 10 ms of the reactor's time.

    In each interval of 0.1 s, the first 50 connections are started without a timer, so that single connections are not
    delayed.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queue: OrderedDict[Dial, None] = OrderedDict()
        self._began = 0.0
        self._left = self.PER_TURN
        self._next_turn: IDelayedCall | None = None

    def submit(self, dial: Dial) -> None:
        """Call `dial.connect()`, now or in a later turn."""
        if not self._queue and self._may_begin():
            dial.connect()
            return
        self._queue[dial] = None
        if self._next_turn is None:
            self._next_turn = self._clock.callLater(0, self._turn)

    def withdraw(self, dial: Dial) -> bool:
        """Remove a queued connection; return whether it was queued. A queued connection has not been started."""
        if dial not in self._queue:
            return False
        del self._queue[dial]
        if not self._queue and self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        return True

    def _may_begin(self) -> bool:
        now = self._clock.seconds()
        # The second condition is true if the clock was set back.
        if now >= self._began + _BURST_S or now < self._began:
            self._began, self._left = now, self.PER_TURN
        self._left -= 1
        return self._left >= 0

    def _turn(self) -> None:
        self._next_turn = None
        for _ in range(min(self.PER_TURN, len(self._queue))):
            if self._queue:
                dial, _ = self._queue.popitem(last=False)
                dial.connect()
        if self._queue and self._next_turn is None:
            self._next_turn = self._clock.callLater(0, self._turn)
