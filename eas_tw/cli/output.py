"""Standard output that fails: its reader has closed it (`eas-tw discover --watch | head -1`), or the disk is full."""

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
"""The interval, in seconds, at which `while_read` checks for a reader."""


def replace_closed_streams() -> None:
    """Open the null device for a standard output or error that was closed before the start (`>&-`).

    Python sets a closed stream to `None`, and `print` would fail. The next opened socket would also get the free
    descriptor 1 or 2, and receive what a C library prints.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  open until the process ends


def reader_is_gone() -> bool:
    """Return whether standard output has no reader.

    This is the case if it was closed before the start, or if it is a pipe, socket or terminal whose other end is
    closed. A command that prints nothing for hours would not notice this from a failed write.
    """
    if sys.__stdout__ is None:
        return True
    if not hasattr(select, "poll"):  # Windows
        return False
    poller = select.poll()
    try:
        poller.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # sys.stdout was replaced by an object without a descriptor
        return False
    return any(found & (select.POLLERR | select.POLLHUP) for _, found in poller.poll(0))


def flush_output() -> None:
    """Flush standard output and standard error.

    Without this, the interpreter flushes them at its exit; on a failure it prints an error and exits with 120.

    Raises:
        OSError: Standard output cannot be written to. A failure of standard error is ignored, because it could not be
            reported.
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
    """Redirect a stream to the null device, because the interpreter's exit would flush its buffer and fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


async def while_read(reactor: Any, work: Deferred[Any]) -> Any:
    """Wait for `work`, and cancel it when standard output has no reader any more.

    Raises:
        BrokenPipeError: Standard output has no reader.
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
