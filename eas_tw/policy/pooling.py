"""Which connection a call gets, and which connections may be kept.

Pure answers for `net.pool`; one outstanding request a connection (HTTP/1.1 without pipelining).
"""

from __future__ import annotations

from enum import Enum, auto


class PoolAction(Enum):
    """What a pool does with a call that needs a connection."""

    REUSE = auto()
    """Take the connection that became idle last: the one least likely to have been closed meanwhile."""
    CONNECT = auto()
    """Wait in line, and open a connection for the line."""
    REPLACE = auto()
    """As CONNECT, after closing the connection that has been idle longest: the pool is full and the call wants a new
    one."""
    WAIT = auto()
    """Wait in line: enough connections are being opened, or the pool is full."""


def plan(*, idle: int, open_or_opening: int, opening: int, waiting: int, limit: int, fresh: bool) -> PoolAction:
    """What to do with one more call.

    Args:
        idle: Connections without a request.
        open_or_opening: All connections, including those being opened.
        opening: Those being opened.
        waiting: Calls in line, without this one.
        limit: The most connections the pool may have.
        fresh: Whether the call must not have an idle connection, since one has just failed it.
    """
    if idle and not fresh:
        return PoolAction.REUSE
    if opening > waiting:
        return PoolAction.WAIT
    if open_or_opening < limit:
        return PoolAction.CONNECT
    return PoolAction.REPLACE if idle else PoolAction.WAIT


class QueueDelay:
    """How fast a line moves: the moving average of the time between two turns, while somebody waits."""

    ENOUGH = 8
    """Turns before it says anything."""
    _WEIGHT = 0.1

    def __init__(self) -> None:
        self._last: float | None = None
        self._mean_s = 0.0
        self._turns = 0

    def turn(self, now: float) -> None:
        """The first in line has got a connection, and others wait."""
        if self._last is not None:
            self._turns += 1
            weight = max(self._WEIGHT, 1.0 / self._turns)
            self._mean_s += weight * (now - self._last - self._mean_s)
        self._last = now

    def pause(self) -> None:
        """Nobody waits: the next turn comes when somebody calls, which says nothing about the instance."""
        self._last = None

    def has_turned_since(self, at: float) -> bool:
        """Whether somebody who waited has got a connection since then."""
        return self._last is not None and self._last > at

    def wait_s(self, waiting: int) -> float:
        """What to expect behind so many others, in seconds; 0 while it cannot be told."""
        return self._mean_s * waiting if self._turns >= self.ENOUGH else 0.0
