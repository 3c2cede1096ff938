"""Bugs of host names: what a client does while the name server fails, is slow, or says nothing."""

from __future__ import annotations

from typing import Any

from eas_tw.net import names
from eas_tw.net.names import Names
from tests.simulation.planted.bugs import Patch, bug


@bug("last-good-list", seeds=100)
def addresses_of_before_are_not_used(patch: Patch) -> None:
    """A look-up that fails is a poll that fails, although the address is known."""

    def fail(self: Names, name: Any, waiter: Any, error: Exception) -> None:
        waiter.errback(error)

    patch(Names, "_make_do", fail)


@bug("last-good-list", seeds=100)
def slow_name_server_is_waited_for(patch: Patch) -> None:
    """For all the time that a poll has, and then there is none left to ask at the address of before."""
    patch(names, "_SLOW_S", 1000.0)
    patch(names, "_SLOW_SHARE", 1.0)


@bug("name-asked-again", seeds=100)
def silent_name_server_is_never_asked_again(patch: Patch) -> None:
    """The look-up that had no end is taken for one that runs."""
    late = Names._late

    def keep(self: Names, host: str, name: Any, waiter: Any) -> None:
        looking = name.looking
        late(self, host, name, waiter)
        name.looking = looking

    patch(Names, "_late", keep)
