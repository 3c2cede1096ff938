"""Decisions about the connections of a pool, for `net.pool`.

A connection carries one request at a time (HTTP/1.1 without pipelining).
"""

from __future__ import annotations

from enum import Enum, auto


class PoolAction(Enum):
    """The action of a pool for a call that no idle connection can serve."""

    CONNECT = auto()
    """Queue the call, and open a connection."""
    REPLACE = auto()
    """Close the longest idle connection, then CONNECT: the pool is full, and the call needs a new connection."""
    PREEMPT = auto()
    """Stop the oldest watch, then CONNECT: the pool is full, and watches of silent attempts occupy all connections."""
    WAIT = auto()
    """Queue the call: enough connections are being opened, or the pool is full."""


def plan(*, idle: int, open_or_opening: int, opening: int, watched: int, waiting: int, limit: int) -> PoolAction:
    """Decide what to do with one more call that no idle connection can serve.

    Args:
        idle: Number of idle connections; above 0 only if the call needs a new connection.
        open_or_opening: Number of all connections, including those being opened.
        opening: Number of connections being opened.
        watched: Number of connections on which an attempt is watched after its call has given it up.
        waiting: Number of calls in the queue, without the call to decide on.
        limit: Maximum number of connections of the pool, ≥ 1.
    """
    if opening > waiting:
        return PoolAction.WAIT
    if open_or_opening < limit:
        return PoolAction.CONNECT
    if idle:
        return PoolAction.REPLACE
    return PoolAction.PREEMPT if watched >= limit else PoolAction.WAIT


class QueueDelay:
    """Estimates the queue delay of a pool by a moving average of the time between two dispatches from the queue."""

    ENOUGH = 8
    """Minimum number of measured intervals for an estimate."""
    _WEIGHT = 0.1

    def __init__(self) -> None:
        self._last: float | None = None
        self._mean_s = 0.0
        self._turns = 0

    def turn(self, now: float) -> None:
        """Record that the first call of the queue was dispatched while other calls wait."""
        if self._last is not None:
            self._turns += 1
            weight = max(self._WEIGHT, 1.0 / self._turns)
            self._mean_s += weight * (now - self._last - self._mean_s)
        self._last = now

    def pause(self) -> None:
        """Record that the queue is empty, so that the time until the next dispatch is not measured."""
        self._last = None

    def has_turned_since(self, at: float) -> bool:
        """Return whether a waiting call was dispatched after `at`; `False` once the queue is empty."""
        return self._last is not None and self._last > at

    def wait_s(self, waiting: int) -> float:
        """Return the expected wait in seconds behind `waiting` calls; 0 while there is no estimate."""
        return self._mean_s * waiting if self._turns >= self.ENOUGH else 0.0
