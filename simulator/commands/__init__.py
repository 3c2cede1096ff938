"""The commands of `python -m simulator`, one module each, and the functions that they share."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from pathlib import Path

FAILED, USAGE, BAD_SCENARIO, UNAVAILABLE, INTERRUPTED = 1, 2, 65, 69, 130


def replace_closed_streams() -> None:
    """Open the null device in place of standard output and error that were closed before the program began (`>&-`).

    Python sets such streams to `None`. The null device gets the lowest free descriptor, which is the descriptor of the
    closed stream if standard input is open. Otherwise a socket could get descriptor 1 or 2, and a library that writes
    to the descriptor would write to the socket.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  open until the process ends


def discard_output() -> None:
    """Redirect standard output to the null device, so that the flush at exit cannot fail (closed pipe, full disk)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def flush_output() -> None:
    """Flush standard output and error.

    Otherwise the interpreter flushes them at exit, and changes the exit code to 120 if that fails.

    Raises:
        OSError: Standard output cannot be written to. A failure of standard error is ignored, because there is no other
            stream on which to report it.
    """
    try:
        sys.stderr.flush()
    except (OSError, AttributeError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdout.flush()


def check_reader() -> None:
    """Raise BrokenPipeError if standard output has no reader.

    A command that seldom prints would detect this only at its next write. Standard output has no reader if it was
    closed before the program began, or if it is a pipe, a socket or a terminal whose other end is closed.
    """
    if sys.__stdout__ is None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    if not hasattr(select, "poll"):  # Windows has no `poll`
        return
    poller = select.poll()
    try:
        poller.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # standard output was replaced by an object without a descriptor
        return
    if any(found & (select.POLLERR | select.POLLHUP) for _, found in poller.poll(0)):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def say(error: object, code: int) -> int:
    """Print an error on standard error, and return the exit code `code`."""
    with contextlib.suppress(OSError):  # standard error may be closed as well
        print(f"simulator: {error}", file=sys.stderr)
    return code
