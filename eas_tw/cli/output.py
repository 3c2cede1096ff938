"""Standard output whose reader may go away (`eas-tw discover --watch | head -1`), or which cannot be written to."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

_LOOK_EVERY_S = 1.0


def replace_closed_streams() -> None:
    """Open the null device in place of standard output and error that were closed before the program began (`>&-`).

    Python sets them to `None` then. Their descriptors are taken, too: a socket that got one of them would be sent what
    a library prints.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  for as long as the process lives


def reader_is_gone() -> bool:
    """Return whether nobody can read standard output.

    It was closed before the program began, or is a pipe, a socket or a terminal whose other end is closed. A command
    that has nothing to print for hours would learn it from no write.
    """
    if sys.__stdout__ is None:
        return True
    if not hasattr(select, "poll"):  # Windows
        return False
    poller = select.poll()
    try:
        poller.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # replaced by something without a descriptor
        return False
    return any(found & (select.POLLERR | select.POLLHUP) for _, found in poller.poll(0))


def flush_output() -> None:
    """Flush both streams, while there is still somebody to tell of a failure.

    The interpreter would do it at its exit, complain, and change the exit code to 120.

    Raises:
        OSError: Standard output cannot be written to. Standard error has nobody to be told.
    """
    try:
        sys.stderr.flush()
    except (OSError, AttributeError):
        _discard(sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)
        raise


def _discard(stream: TextIO) -> None:
    """Send a stream nowhere: what is still buffered would fail once more."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


async def while_read(reactor: Any, work: Deferred[Any]) -> Any:
    """Wait for `work`, and end it when nobody reads standard output any more.

    Raises:
        BrokenPipeError: Nobody does.
    """

    def look() -> None:
        if reader_is_gone():
            looking.stop()
            gone.append(True)
            work.cancel()

    gone: list[bool] = []
    looking = LoopingCall(look)
    looking.clock = reactor
    looking.start(_LOOK_EVERY_S, now=False)
    try:
        return await work
    except Exception:
        if gone:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
        raise
    finally:
        if looking.running:
            looking.stop()
