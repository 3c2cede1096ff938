"""Fault points: places in a client's process where an injected error can be raised.

A point is a place where the client's code calls other code, or other code calls it: sockets, sends, the program's code.
A fault activates a point for a time, with an error and a probability. The code at the point calls `error_at` or `check`
of `Failing`. Errors created here are marked, so that the oracle does not report them as bugs when they are logged.
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
"""The points.

1. `dial`, `socket`, `connect`, `send`: `connectTCP`, `socket()`, `connect()` and `send()`.
2. `encode`, `parse`: a request's `to_string` and `parse_response`.
3. `listen`, `cancel`: a listener, which raises or cancels calls.
4. `read`: a callback of the parser.
5. `apply`: a step of applying a list.
"""

LOCAL = ("EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENETUNREACH", "ENOBUFS", "ENOMEM")
"""Errors of the operating system that mean a lack of local resources."""
BAD_ADDRESS = ("ValueError", "UnicodeError")
ANY = ("ValueError", "MemoryError", "CancelledError", "SystemExit", "GeneratorExit")
"""Errors that a program's own code may raise. The last three are not subclasses of `Exception`."""

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
    """An active fault at a point."""

    error: str
    probability: float


class Failing:
    """The active faults at the points of one host.

    Args:
        rng: Source of random draws.
        now_ns: Returns virtual time, in nanoseconds.

    Attributes:
        local_ns: Time of the last failure for a lack of local resources, in virtual nanoseconds.
        is_on: Whether any fault is active; callers check it first, because it is cheap and usually false.
        raised: Number of errors raised, by point.
    """

    def __init__(self, rng: Random, now_ns: Callable[[], int]) -> None:
        self._rng = rng
        self._now_ns = now_ns
        self.local_ns = -1
        self._open: dict[str, list[_Open]] = {}
        self.is_on = False
        self.raised: dict[str, int] = {}

    def begin(self, point: str, error: str, probability: float) -> Callable[[], None]:
        """Start a fault that makes a point fail with a probability; return the function that ends it."""
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
        """Draw whether a point fails now; return the error to raise, or `None`."""
        for opened in self._open.get(point, ()):
            if self._rng.random() < opened.probability:
                self.raised[point] = self.raised.get(point, 0) + 1
                if opened.error in LOCAL or opened.error == "MemoryError":
                    self.local_ns = self._now_ns()
                return make(opened.error)
        return None

    def check(self, point: str) -> None:
        """Draw whether a point fails now, and raise its error if it does."""
        error = self.error_at(point)
        if error is not None:
            raise error


def make(name: str) -> BaseException:
    """Create a marked error from the name of an errno or of an exception class in `_TYPES`."""
    number = getattr(errno, name, None)
    return mark(_TYPES[name]("raised by the simulation") if number is None else OSError(number, os.strerror(number)))


def mark(error: BaseException) -> BaseException:
    """Mark an error as injected, and return it."""
    setattr(error, _MARK, True)
    return error


def is_injected(error: object) -> bool:
    """Whether an error was injected by a fault (`mark`)."""
    return bool(getattr(error, _MARK, False))
