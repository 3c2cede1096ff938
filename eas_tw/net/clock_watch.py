"""The thread that notices when the clock of a program's reactor has been set.

A reactor whose clock was set back calls nothing until its time has caught up, so what notices must not be one of its
timers. One daemon thread in the process, which runs only while a client is open on such a reactor, compares the clocks
and wakes the reactors whose clock was set.
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
"""Seconds between two looks, at most: a look costs a few microseconds."""

_JOIN_WITHIN_S = 1.0

_log = Logger(namespace="eas_tw.client")

_numbers = count()
"""Of entries; never the same twice, in a forked process neither."""


class _Entry(NamedTuple):
    """A reactor to look at, and how often."""

    reactor: ref[MonotonicReactor]
    every_s: float


class ClockWatch:
    """Looks at reactors' clocks in a thread of its own, which ends with the last of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: dict[int, _Entry] = {}
        self._thread: threading.Thread | None = None

    def add(self, reactor: object, every_s: float) -> Callable[[], None]:
        """Look at a reactor's clock every `every_s` seconds, or every `LONGEST_S` if that is less.

        Args:
            reactor: Anything but a `MonotonicReactor` that nobody watches needs no thread, and starts none.
            every_s: Seconds, > 0.

        Returns:
            Call it to end this; twice is fine. When it returns, a thread that nobody else needs has ended.
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
                    with contextlib.suppress(RuntimeError, OSError):  # the reactor has ended without its clients
                        reactor.look()
                    del reactor
            self._thread = None


watch = ClockWatch()
"""The process's."""


def _forget() -> None:
    """In a forked child, which has neither the thread nor, perhaps, whoever held the lock."""
    watch.__init__()  # type: ignore[misc]  # closures of clients refer to this very object


os.register_at_fork(after_in_child=_forget)
