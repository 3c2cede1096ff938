"""The commands of `python -m simulator`, a module each; what they share is here."""

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

    Python sets them to `None` then. Their descriptors are taken, too: a socket that got one of them would be sent what
    a library prints.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  for as long as the process lives


def discard_output() -> None:
    """Send standard output nowhere, so that what is buffered for a closed pipe or a full disk fails no exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def flush_output() -> None:
    """Flush both streams; the interpreter would do it at its exit, complain, and change the exit code to 120.

    Raises:
        OSError: Standard output cannot be written to. Standard error has nobody to be told.
    """
    try:
        sys.stderr.flush()
    except (OSError, AttributeError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdout.flush()


def check_reader() -> None:
    """Raise BrokenPipeError if nobody can read standard output: a command with nothing to print learns it so.

    It was closed before the program began, or is a pipe, a socket or a terminal whose other end is closed.
    """
    if sys.__stdout__ is None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    if not hasattr(select, "poll"):  # Windows
        return
    poller = select.poll()
    try:
        poller.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # replaced by something without a descriptor
        return
    if any(found & (select.POLLERR | select.POLLHUP) for _, found in poller.poll(0)):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def say(error: object, code: int) -> int:
    """Tell people what was wrong; the exit code."""
    with contextlib.suppress(OSError):  # standard error may be closed as well
        print(f"simulator: {error}", file=sys.stderr)
    return code
