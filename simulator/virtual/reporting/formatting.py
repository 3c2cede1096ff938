"""Formatting of addresses and lists in the event log and in descriptions of violations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.virtual.network.sockets import Address

_FEW = 8


def spelled(address: Address) -> str:
    """Format an address as `ip:port`."""
    return f"{address[0]}:{address[1]}"


def few(items: Iterable[str], separator: str = ", ") -> str:
    """Join the first eight items, and append the number of the other items."""
    named = list(items)
    more = len(named) - _FEW
    return separator.join(named[:_FEW]) + (f"{separator}and {more} more" if more > 0 else "")
