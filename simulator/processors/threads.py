"""Runs a user's ordinary function in a thread, so that it cannot block the reactor.

Each call has its own daemon thread: a pool's thread that never returns would keep the process from ending. The
instance's workers bound the number of threads. Without threads (in virtual time) the function runs immediately.
"""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable


def in_thread(reactor: Any, function: Callable[[Any], Any], body: Any) -> Any:
    """Run `function(body)` in a thread; the Deferred fires with its result, or fails with its exception."""
    if not IReactorThreads.providedBy(reactor):
        return function(body)
    result: Deferred[Any] = Deferred()

    def run() -> None:
        try:
            found = function(body)
        except BaseException:  # noqa: BLE001  even a SystemExit is only this request's
            reactor.callFromThread(result.errback, Failure())
        else:
            reactor.callFromThread(_settle, result, found)

    Thread(target=run, daemon=True, name="processor").start()
    return result


def _settle(result: Deferred[Any], found: Any) -> None:
    if isinstance(found, Deferred):
        found.chainDeferred(result)
    else:
        result.callback(found)
