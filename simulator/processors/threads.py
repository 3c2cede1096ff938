"""Runs a user's ordinary function in a thread, so that it cannot block the reactor.

Each call has its own daemon thread. In a pool of threads, a function that never returns would prevent the process from
ending. The number of workers of the instance limits the number of threads. A reactor without threads (in virtual time)
runs the function immediately.
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
    """Run `function(body)` in a thread.

    Returns:
        1. A Deferred that fires with the result, or fails with the function's exception.
        2. The result, if the reactor has no threads.
    """
    if not IReactorThreads.providedBy(reactor):
        return function(body)
    result: Deferred[Any] = Deferred()

    def run() -> None:
        try:
            found = function(body)
        except BaseException:  # noqa: BLE001  even SystemExit must fail only this request
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
