"""Which connection a call gets, and which connections may be kept.

Pure answers for `net.pool`; one outstanding request a connection (HTTP/1.1 without pipelining).
"""

from __future__ import annotations

from enum import Enum, auto


class Plan(Enum):
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


def plan(*, idle: int, open_or_opening: int, opening: int, waiting: int, limit: int, fresh: bool) -> Plan:
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
        return Plan.REUSE
    if opening > waiting:
        return Plan.WAIT
    if open_or_opening < limit:
        return Plan.CONNECT
    return Plan.REPLACE if idle else Plan.WAIT
