"""Containment of exceptions at the boundaries of the client, so that one call's failure does not affect other calls.

A listener, an agent, a parser or a bug can raise any exception. The code at a boundary restores its state, then calls
`contain`, which logs the exception. `SystemExit` and `KeyboardInterrupt` must also reach the program. They are raised
again in a separate turn of the reactor, because at the boundary they would skip the remaining work for other calls.
`SystemExit` and `KeyboardInterrupt` stop asyncio's loop; Twisted's own reactors log them like other exceptions of
callbacks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

if TYPE_CHECKING:
    from typing import NoReturn

_log = Logger(namespace="eas_tw.client")


class CallLater(Protocol):
    """The type of `IReactorTime.callLater`."""

    def __call__(self, delay: float, callable: Any, *args: object) -> object:  # noqa: A002  the interface's name
        """Call a function after `delay` seconds."""


def contain(later: CallLater, text: str, **fields: Any) -> None:
    """Log the exception that is being handled. Call this in an `except` block that does not raise the exception again.

    Args:
        later: The reactor's `callLater`.
        text: The log message, as a format of `twisted.logger`.
        fields: The values for the format.
    """
    error = sys.exception()
    _log.failure(text, **fields)
    pass_on(later, error)


def pass_on(later: CallLater, error: BaseException | None) -> None:
    """Raise `SystemExit` or `KeyboardInterrupt` again in the reactor's next turn; ignore any other exception."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        later(0, _raise, error)


def _raise(error: BaseException) -> NoReturn:
    raise error
