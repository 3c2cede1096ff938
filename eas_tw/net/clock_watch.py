"""Detection of steps of a reactor's clock, by a thread.

A reactor whose clock was set back fires no timer until the clock has reached its former value, so a timer of the
reactor cannot detect the step. One daemon thread in the process compares the clocks, and wakes the reactors whose clock
was set. The thread runs only while a client is open on such a reactor.
"""

from __future__ import annotations

import contextlib
import os
import threading
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from weakref import ref

from twisted.logger import Logger

from eas_tw.net.monotonic import MonotonicReactor

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_S = 1.0
"""Maximum time in seconds between two checks; a check costs a few microseconds."""

# The thread ends within microseconds; the bound prevents `close` from waiting for a thread that hangs.
_JOIN_WITHIN_S = 1.0

_log = Logger(namespace="eas_tw.client")

_numbers = count()
"""Source of the numbers of entries, which are never reused, not even in a forked process."""


class _Entry(NamedTuple):
    """A reactor to check, and the seconds between two checks."""

    reactor: ref[MonotonicReactor]
    every_s: float


class ClockWatch:
    """Checks the clocks of reactors in a thread, which ends when no reactor is left."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: dict[int, _Entry] = {}
        self._thread: threading.Thread | None = None

    def add(self, reactor: object, every_s: float) -> Callable[[], None]:
        """Check a reactor's clock every `every_s` seconds, or every `LONGEST_S` seconds if that is shorter.

        Args:
            reactor: The reactor. If it is not a `MonotonicReactor`, or its owner checks the clock (`is_watched`),
                nothing is done.
            every_s: The maximum time between two checks, in seconds, > 0.

        Returns:
            A function that ends the checks; calling it twice is harmless. If no reactor is left, the function waits
            until the thread has ended, for at most 1 s.
        """
        if not isinstance(reactor, MonotonicReactor) or reactor.is_watched:
            return lambda: None
        with self._changed:
            number = next(_numbers)
            self._entries[number] = _Entry(ref(reactor), min(every_s, LONGEST_S))
            if self._thread is None:
                self._thread = self._started()
            self._changed.notify()
        return lambda: self._remove(number)

    def _started(self) -> threading.Thread | None:
        thread = threading.Thread(target=self._run, name="eas_tw clock watch", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            _log.warn("no thread to notice that the machine's clock is set back: {error}", error=error)
            return None
        return thread

    def _remove(self, number: int) -> None:
        with self._changed:
            self._entries.pop(number, None)
            ending = None if self._entries else self._thread
            self._changed.notify()
        if ending is not None:
            ending.join(_JOIN_WITHIN_S)

    def _run(self) -> None:
        with self._changed:
            while self._entries:
                self._changed.wait(min(entry.every_s for entry in self._entries.values()))
                for number, entry in list(self._entries.items()):
                    reactor = entry.reactor()
                    if reactor is None:
                        del self._entries[number]
                        continue
                    # `callFromThread` raises these errors if the reactor has stopped before its clients were closed.
                    with contextlib.suppress(RuntimeError, OSError):
                        reactor.look()
                    del reactor
            self._thread = None


watch = ClockWatch()
"""The only `ClockWatch` in a process."""


def _forget() -> None:
    """Reset the watch in a forked child, which has no thread, and in which the lock may never be released."""
    watch.__init__()  # type: ignore[misc]  # in place, because closures of clients refer to this object


os.register_at_fork(after_in_child=_forget)
