"""How long a process serves: from a running reactor to a signal, the end of standard input, or a failure."""

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
    """Runs a reactor until something ends it; the end comes once, and in time.

    Args:
        reactor: Twisted's global one.
        stop: Ends what is served; fires when it is gone.
        cleanup: What must not be left behind; called when the end begins, and again at the last moment.
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
        """Run until the end; the exit code.

        Args:
            begin: Called when the reactor runs and signals end it in order.
        """

        def running() -> None:
            # Our own handlers, so that the exit code is 0 and the connections end before the reactor does; in place
            # before anybody learns that there is something to end.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._signalled)
            try:
                begin()
            except Exception:  # noqa: BLE001  half of what should run is worse than nothing
                _log.failure("the simulator could not begin, by a bug")
                self.end(_BUG)

        self._reactor.callWhenRunning(running)
        try:
            self._reactor.run()
        finally:
            self._cleanup()
        return self._code

    def end(self, code: int = 0) -> None:
        """Begin the end; the first code stands."""
        if self._timer is not None:
            return
        self._code = code
        self._start_last_resort()
        self._cleanup()
        self._timer = self._reactor.callLater(STOP_WITHIN_S, self._reactor.stop)
        self._stop().addBoth(lambda _: self._timer.active() and (self._timer.cancel(), self._reactor.stop()))

    def end_with_stdin(self) -> None:
        """End when standard input does: whoever started us holds the other end, however they go."""
        threading.Thread(target=_wait_for_eof, daemon=True).start()

    def _signalled(self, *_: Any) -> None:
        self._start_last_resort()
        self._reactor.callFromThread(self.end)

    def _start_last_resort(self) -> None:
        if self._last_resort.ident is None:
            self._last_resort.start()

    def _end_now(self) -> None:
        # A user's processor may block the reactor's thread; then nothing but this ends the process in time.
        self._cleanup()
        os._exit(self._code)


def _wait_for_eof() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
