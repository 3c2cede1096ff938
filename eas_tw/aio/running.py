"""The Twisted reactor of each asyncio loop, started by the first client and released after the last client.

`asyncio.run` does not start a reactor. Without a start, name resolution and `callWhenRunning` do not work, so `enter`
starts the reactor.
"""

from __future__ import annotations

import os
import sys
import threading
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
    """A loop's reactor, whether it is the installed reactor, and the number of clients that use it."""

    reactor: Any
    is_installed: bool
    users: int = 0


_running: dict[asyncio.AbstractEventLoop, _Running] = {}
_lock = threading.RLock()
"""Guards `_running` and the installed reactor, because threads may run loops at the same time.

The garbage collector may close a coroutine that calls `leave` while the same thread is in `enter`, so the lock is
reentrant.
"""


def _forget_lock() -> None:
    """Replace the lock in a forked child, because a thread of the parent may have held it at the fork."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_lock)


def enter(loop: asyncio.AbstractEventLoop) -> Any:
    """Return the running reactor of a loop, and increment its user count.

    Call `leave` once for each call of this function.

    Raises:
        ConfigError: The program has installed a reactor of another kind, which does not run on an asyncio loop.
    """
    with _lock:
        running = _running.get(loop)
        if running is None:
            _forget_closed_loops()
            reactor, is_installed = _find(loop)
            running = _running[loop] = _Running(reactor, is_installed)
            if not reactor.running:
                # Twisted's resolver uses threads that outlive the loop, and the loop's executor may be full of the
                # program's functions, so names are resolved in separate threads.
                reactor.installNameResolver(ThreadResolver(reactor))
                reactor.startRunning(installSignalHandlers=False)
        running.users += 1
        return running.reactor


def leave(loop: asyncio.AbstractEventLoop) -> None:
    """Decrement the user count of a loop's reactor, and clean up after the last user.

    The clean-up closes the reactor's wakers, except those of the installed reactor, which the program may use too. If
    the loop is closed, it also closes all other sockets of the reactor.
    """
    with _lock:
        running = _running.get(loop)
        if running is None:  # `_forget_closed_loops` has removed it
            return
        running.users -= 1
        if not running.users:
            _forget(loop)


def _forget_closed_loops() -> None:
    """Remove the entries of closed loops whose clients were not closed; nothing else would remove them."""
    for loop in [loop for loop in list(_running) if loop.is_closed()]:
        _forget(loop)


def _forget(loop: asyncio.AbstractEventLoop) -> None:
    running = _running.pop(loop)
    reactor = running.reactor
    if loop.is_closed():
        _close_sockets(reactor)
    if not running.is_installed:
        for waker in list(reactor._internalReaders):  # noqa: SLF001  Twisted has no public way to close its wakers
            if not loop.is_closed():
                reactor.removeReader(waker)
            waker.connectionLost(None)


def _close_sockets(reactor: Any) -> None:
    """Close the sockets of a closed loop, so that the instances do not keep unusable connections open."""
    for selectable in {*reactor.getReaders(), *reactor.getWriters()} - set(reactor._internalReaders):  # noqa: SLF001
        opened = getattr(selectable, "socket", None)
        if hasattr(selectable, "close_sockets"):  # the connections of a client, see `eas_tw.net.read_set`
            selectable.close_sockets()
        elif opened is not None:
            opened.close()


def _find(loop: asyncio.AbstractEventLoop) -> tuple[Any, bool]:
    """Find or create the reactor of a loop.

    Returns:
        The reactor, and whether it is the installed reactor:

        1. a new reactor, which is installed, if none was installed;
        2. the installed reactor, if it belongs to this loop;
        3. a new reactor, not installed, if the installed reactor belongs to another loop.

    Raises:
        ConfigError: The installed reactor is of another kind.
    """
    from twisted.internet import asyncioreactor  # noqa: PLC0415  this import installs no reactor

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
    if installed._asyncioEventloop is loop:  # noqa: SLF001  Twisted has no public attribute for the loop
        return installed, True
    # A reactor cannot change its loop, so a second `asyncio.run`, or the loop of a test, gets a new reactor.
    return _make(loop), False


def _make(loop: asyncio.AbstractEventLoop) -> Any:
    """Create a reactor on a loop; the reactor's timers use the monotonic clock, which the loop's timers use as well."""
    from twisted.internet.asyncioreactor import AsyncioSelectorReactor  # noqa: PLC0415

    reactor: Any = AsyncioSelectorReactor(loop)
    # With Twisted's default, `time.time`, setting the system clock back by an hour would delay every timer by an hour.
    reactor.seconds = time.monotonic
    return reactor
