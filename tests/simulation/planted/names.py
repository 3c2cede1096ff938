"""Bugs of the look-up of host names while the name server fails, is slow, or does not respond."""

from __future__ import annotations

from typing import Any

from eas_tw.net import names
from eas_tw.net.names import Names
from tests.simulation.planted.bugs import Patch, bug


@bug("last-good-list", seeds=100)
def last_addresses_not_used(patch: Patch) -> None:
    """A failed look-up makes the poll fail, although the last addresses are known."""

    def fail(self: Names, name: Any, waiter: Any, error: Exception) -> None:
        waiter.errback(error)

    patch(Names, "_make_do", fail)


@bug("last-good-list", seeds=100)
def slow_name_server_delays_polls(patch: Patch) -> None:
    """A poll waits for the look-up until the poll's timeout, and does not use the last addresses."""
    patch(names, "_SLOW_S", 1000.0)
    patch(names, "_SLOW_SHARE", 1.0)


@bug("name-asked-again", seeds=100)
def no_look_up_after_a_silent_name_server(patch: Patch) -> None:
    """A look-up that timed out still counts as running, so that no new one begins."""
    late = Names._late

    def keep(self: Names, host: str, name: Any, waiter: Any) -> None:
        looking = name.looking
        late(self, host, name, waiter)
        name.looking = looking

    patch(Names, "_late", keep)
