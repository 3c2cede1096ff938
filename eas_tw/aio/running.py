"""A reactor for the running asyncio loop.

`asyncio.run` never starts a reactor, so the first client on a loop does: without a start there is no name resolution
and no `callWhenRunning`. Owns which reactor belongs to which loop; nothing here knows of clients or calls.
"""

from __future__ import annotations

import sys
import time  # noqa: TID251  the reactor is made here
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.main import installReactor

from eas_tw import ConfigError
from eas_tw.lookup import ThreadResolver

if TYPE_CHECKING:
    import asyncio


@define
class _Running:
    """A loop's reactor, and how many clients use it."""

    reactor: Any
    is_installed: bool
    users: int = 0


_running: dict[asyncio.AbstractEventLoop, _Running] = {}


def enter(loop: asyncio.AbstractEventLoop) -> Any:
    """The reactor of this loop, running, for one more user.

    Raises:
        ConfigError: The program has installed another kind of reactor, which will never run here.
    """
    running = _running.get(loop)
    if running is None:
        _forget_closed_loops()
        reactor, is_installed = _find(loop)
        running = _running[loop] = _Running(reactor, is_installed)
        if not reactor.running:
            # The reactor's own threads would outlive the loop; the loop's executor is the program's to fill.
            reactor.installNameResolver(ThreadResolver(reactor))
            reactor.startRunning(installSignalHandlers=False)
    running.users += 1
    return running.reactor


def leave(loop: asyncio.AbstractEventLoop) -> None:
    """One user fewer; after the last, a reactor that nobody else can know gives back what it holds."""
    running = _running.get(loop)
    if running is None:  # forgotten, since the loop is closed
        return
    running.users -= 1
    if not running.users:
        _forget(loop)


def _forget_closed_loops() -> None:
    """Forget loops that ended without their clients being closed; each would be kept for ever."""
    for loop in [loop for loop in _running if loop.is_closed()]:
        _forget(loop)


def _forget(loop: asyncio.AbstractEventLoop) -> None:
    running = _running.pop(loop)
    if not running.is_installed:
        reactor = running.reactor
        for waker in list(reactor._internalReaders):  # noqa: SLF001  Twisted closes them with the process only
            if not loop.is_closed():
                reactor.removeReader(waker)
            waker.connectionLost(None)


def _find(loop: asyncio.AbstractEventLoop) -> tuple[Any, bool]:
    """The program's reactor if it is this loop's, and whether it is installed; a new one otherwise."""
    from twisted.internet import asyncioreactor  # noqa: PLC0415  imports nothing that installs

    installed: Any = sys.modules.get("twisted.internet.reactor")
    if installed is None:
        made = _make(loop)
        installReactor(made)
        return made, True
    if not isinstance(installed, asyncioreactor.AsyncioSelectorReactor):
        raise ConfigError(
            f"eas_tw.aio needs Twisted's asyncio reactor, but this program has installed {type(installed).__name__} "
            "already, by importing twisted.internet.reactor before the loop ran: import that later, or not at all"
        )
    if installed._asyncioEventloop is loop:  # noqa: SLF001  there is no public way to ask
        return installed, True
    # A reactor lives as long as its loop: a second asyncio.run, or a test's loop, takes one of its own.
    return _make(loop), False


def _make(loop: asyncio.AbstractEventLoop) -> Any:
    """A reactor of this loop, whose timers go by elapsed time, as the loop's do."""
    from twisted.internet.asyncioreactor import AsyncioSelectorReactor  # noqa: PLC0415

    reactor: Any = AsyncioSelectorReactor(loop)
    # Twisted's own choice, `time.time`, holds up every timer for as long as it has been set back.
    reactor.seconds = time.monotonic
    return reactor
