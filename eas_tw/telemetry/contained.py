"""Containment of exceptions at the boundaries of the client: logged there, and kept from whatever called.

A listener, an agent, a parser or a bug may raise anything, in the middle of anything. Where a boundary is crossed the
caller's state is made whole first, and `contain` does the rest. `SystemExit` and `KeyboardInterrupt` are meant for the
program and not for us; raised from here they would skip what other calls still wait for, so the reactor gets them in a
turn of their own. asyncio's event loop ends by them, Twisted's own reactors log them, as with every callback.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

if TYPE_CHECKING:
    from typing import NoReturn

_log = Logger(namespace="eas_tw.client")


class CallLater(Protocol):
    """`IReactorTime.callLater`."""

    def __call__(self, delay: float, callable: Any, *args: object) -> object:  # noqa: A002  the interface's name
        """Call something after `delay` seconds."""


def contain(later: CallLater, text: str, **fields: Any) -> None:
    """Log the exception that is being handled, and let it go no further.

    Args:
        later: The reactor's `callLater`.
        text: What has failed, as a format of `twisted.logger`.
        fields: Values for the format.
    """
    error = sys.exception()
    _log.failure(text, **fields)
    pass_on(later, error)


def pass_on(later: CallLater, error: BaseException | None) -> None:
    """Raise what ends a program again, in a turn of the reactor of its own; nothing for any other exception."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        later(0, _raise, error)


def _raise(error: BaseException) -> NoReturn:
    raise error
