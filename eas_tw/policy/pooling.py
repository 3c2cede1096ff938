"""Deciding which connection a call gets.

These are pure functions for `net.pool`. A connection carries one request at a time (HTTP/1.1 without pipelining).
"""

from __future__ import annotations

from enum import Enum, auto


class PoolAction(Enum):
    """What a pool does with a call that no idle connection can serve."""

    CONNECT = auto()
    """Queue the call, and open a connection."""
    REPLACE = auto()
    """As CONNECT, after closing the connection idle longest: the pool is full, and the call needs a new one."""
    WAIT = auto()
    """Queue the call: enough connections are being opened, or the pool is full."""


def plan(*, idle: int, open_or_opening: int, opening: int, waiting: int, limit: int) -> PoolAction:
    """Decide what to do with one more call that no idle connection can serve.

    Args:
        idle: Number of connections without a request, which have failed the call before and cannot serve it now.
        open_or_opening: Number of all connections, including those being opened.
        opening: Number of connections being opened.
        waiting: Number of calls in the queue, without this one.
        limit: The most connections the pool may have, ≥ 1.
    """
    if opening > waiting:
        return PoolAction.WAIT
    if open_or_opening < limit:
        return PoolAction.CONNECT
    return PoolAction.REPLACE if idle else PoolAction.WAIT


class QueueDelay:
    """The queue delay of a pool: the moving average of the time between two dispatches while calls wait."""

    ENOUGH = 8
    """The number of dispatches before an estimate is given."""
    _WEIGHT = 0.1

    def __init__(self) -> None:
        self._last: float | None = None
        self._mean_s = 0.0
        self._turns = 0

    def turn(self, now: float) -> None:
        """Record that the first call of the queue got a connection while others wait."""
        if self._last is not None:
            self._turns += 1
            weight = max(self._WEIGHT, 1.0 / self._turns)
            self._mean_s += weight * (now - self._last - self._mean_s)
        self._last = now

    def pause(self) -> None:
        """Record that the queue is empty, so that the time until the next dispatch says nothing about the instance."""
        self._last = None

    def has_turned_since(self, at: float) -> bool:
        """Return whether a waiting call has got a connection since `at`."""
        return self._last is not None and self._last > at

    def wait_s(self, waiting: int) -> float:
        """Return the expected wait in seconds behind `waiting` calls; 0 while there is no estimate."""
        return self._mean_s * waiting if self._turns >= self.ENOUGH else 0.0
