"""A user's ordinary function, run where it can block nothing but itself.

A daemon thread for each call: one that never returns must not keep the process from ending, as a pool's would. How many
there are at a time is bounded by the instance's workers. Where there are no threads (virtual time) it runs at once.
"""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable


def in_thread(reactor: Any, function: Callable[[bytes], Any], body: bytes) -> Any:
    """What `function(body)` answers, as a Deferred; it fails with what the function raises."""
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
