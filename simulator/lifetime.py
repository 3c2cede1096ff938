"""The lifetime of a serving process, which ends by a signal, the end of standard input, or a failure."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

_log = Logger(namespace="simulator.lifetime")

STOP_WITHIN_S = 3.0
END_WITHIN_S = 4.0
_BUG = 1


class Lifetime:
    """Runs a reactor until `end` is called or a signal is received.

    The reactor stops at most `STOP_WITHIN_S` later, and the process exits at most `END_WITHIN_S` later.

    Args:
        reactor: Twisted's global reactor.
        stop: Stops the served simulator; returns a Deferred that fires when it has stopped.
        cleanup: Removes files that must not remain; called when `end` is called, and again immediately before the exit.
    """

    def __init__(self, reactor: Any, stop: Callable[[], Deferred[Any]], cleanup: Callable[[], None]) -> None:
        self._reactor = reactor
        self._stop = stop
        self._cleanup = cleanup
        self._code = 0
        self._timer: Any = None
        self._last_resort = threading.Timer(END_WITHIN_S, self._end_now)
        self._last_resort.daemon = True

    def run(self, begin: Callable[[], None]) -> int:
        """Run the reactor until it stops, and return the exit code.

        Args:
            begin: Called when the reactor runs and signal handlers are installed.
        """

        def running() -> None:
            # Our own handlers make the exit code 0, and close the connections before the reactor stops. They are
            # installed before `begin` prints or writes anything that could make another program send a signal.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._signalled)
            try:
                begin()
            except Exception:  # noqa: BLE001  a partly started simulator must not run
                _log.failure("the simulator cannot start, because of a bug")
                self.end(_BUG)

        self._reactor.callWhenRunning(running)
        try:
            self._reactor.run()
        finally:
            self._cleanup()
        return self._code

    def end(self, code: int = 0) -> None:
        """Stop the simulator and then the reactor, with an exit code; only the first call has an effect."""
        if self._timer is not None:
            return
        self._code = code
        self._start_last_resort()
        self._cleanup()
        self._timer = self._reactor.callLater(STOP_WITHIN_S, self._reactor.stop)
        self._stop().addBoth(lambda _: self._timer.active() and (self._timer.cancel(), self._reactor.stop()))

    def end_with_stdin(self) -> None:
        """End the process when standard input is closed, even if this is because the writing program was killed."""
        threading.Thread(target=_wait_for_eof, daemon=True).start()

    def _signalled(self, *_: Any) -> None:
        self._start_last_resort()
        self._reactor.callFromThread(self.end)

    def _start_last_resort(self) -> None:
        if self._last_resort.ident is None:
            self._last_resort.start()

    def _end_now(self) -> None:
        # A user's processor may block the reactor's thread, so the exit is forced from another thread.
        self._cleanup()
        os._exit(self._code)


def _wait_for_eof() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
