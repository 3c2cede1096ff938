"""Handling of failures of standard output: a closed pipe (`eas-tw discover --watch | head -1`), or a full disk."""

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
"""The interval, in seconds, at which `while_read` checks that standard output has a reader."""


def replace_closed_streams() -> None:
    """Open the null device for a standard output or error that was closed before the start (`>&-`).

    For a closed stream, `sys.stdout` or `sys.stderr` is `None`. The next socket would also get the free descriptor 1 or
    2, and data that a C library prints would be sent to the peer.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  open until the process ends


def reader_is_gone() -> bool:
    """Return whether standard output has no reader.

    This is the case if it was closed before the start, or if it is a pipe, socket or terminal whose other end is
    closed. A failed write would not show this in a command that prints nothing for hours.
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

    Otherwise the interpreter would flush them at exit; if this fails, it prints an error and exits with code 120.

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
    """Redirect a stream to the null device, because the interpreter flushes it again at exit, and would fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


async def while_read(reactor: Any, work: Deferred[Any]) -> Any:
    """Wait for `work`; cancel it when standard output no longer has a reader.

    Raises:
        BrokenPipeError: Standard output has no reader.
    """

    def check() -> None:
        if reader_is_gone():
            checking.stop()
            gone.append(True)
            work.cancel()

    gone: list[bool] = []
    checking = LoopingCall(check)
    checking.clock = reactor
    checking.start(_LOOK_EVERY_S, now=False)
    try:
        return await work
    except Exception:
        if gone:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
        raise
    finally:
        if checking.running:
            checking.stop()
