"""What fails or raises inside a client's own process: its descriptors, its sends, its program's code.

A point is a place where the client's code calls something that is not its own, or is called by it. A fault opens a
point for a while, with an error and a probability; the point asks here, and raises what it gets. Errors made here carry
a mark, so that whoever reads a log knows that they are no bug.
"""

from __future__ import annotations

import errno
import os
from asyncio import CancelledError
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

POINTS = ("dial", "socket", "connect", "send", "encode", "parse", "listen", "cancel", "read", "apply")
"""Where something may be raised: `connectTCP`, `socket()`, `connect()` and `send()`; a request's `to_string` and
`parse_response`; a listener, which raises or cancels; a callback of the parser; a step of taking over a list."""

LOCAL = ("EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENETUNREACH", "ENOBUFS", "ENOMEM")
"""Errors that say that this host lacks something."""
BAD_ADDRESS = ("ValueError", "UnicodeError")
ANY = ("ValueError", "MemoryError", "CancelledError", "SystemExit", "GeneratorExit")
"""Errors that a program's own code may raise; two of them are no `Exception`, and one ends coroutines."""

_TYPES: dict[str, type[BaseException]] = {
    "ValueError": ValueError,
    "UnicodeError": UnicodeError,
    "MemoryError": MemoryError,
    "CancelledError": CancelledError,
    "SystemExit": SystemExit,
    "GeneratorExit": GeneratorExit,
}
_MARK = "is_injected"


class _Open(NamedTuple):
    """A fault at a point."""

    error: str
    probability: float


class Failing:
    """What fails on one host.

    Args:
        rng: Source of random draws.
        now_ns: Virtual time.

    Attributes:
        local_ns: When it last failed for what the host lacks.
        is_on: Whether anything does; asked before everything else.
        raised: How often something was raised, by point.
    """

    def __init__(self, rng: Random, now_ns: Callable[[], int]) -> None:
        self._rng = rng
        self._now_ns = now_ns
        self.local_ns = -1
        self._open: dict[str, list[_Open]] = {}
        self.is_on = False
        self.raised: dict[str, int] = {}

    def begin(self, point: str, error: str, probability: float) -> Callable[[], None]:
        """Let a point fail; what ends it is returned."""
        opened = _Open(error, probability)
        self._open.setdefault(point, []).append(opened)
        self.is_on = True

        def end() -> None:
            left = [other for other in self._open[point] if other is not opened]
            if left:
                self._open[point] = left
            else:
                del self._open[point]
            self.is_on = bool(self._open)

        return end

    def error_at(self, point: str) -> BaseException | None:
        """What to raise at a point this time, if anything."""
        for opened in self._open.get(point, ()):
            if self._rng.random() < opened.probability:
                self.raised[point] = self.raised.get(point, 0) + 1
                if opened.error in LOCAL or opened.error == "MemoryError":
                    self.local_ns = self._now_ns()
                return make(opened.error)
        return None

    def check(self, point: str) -> None:
        """Raise at a point, if it is its turn."""
        error = self.error_at(point)
        if error is not None:
            raise error


def make(name: str) -> BaseException:
    """An error by its name: that of a number of the system's, or of a class."""
    number = getattr(errno, name, None)
    return mark(_TYPES[name]("raised by the simulation") if number is None else OSError(number, os.strerror(number)))


def mark(error: BaseException) -> BaseException:
    """The error, from now on known as one that is no bug."""
    setattr(error, _MARK, True)
    return error


def is_injected(error: object) -> bool:
    """Whether an error was made here."""
    return bool(getattr(error, _MARK, False))
