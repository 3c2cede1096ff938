"""Processes that do not outlive the one that started them, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_EXIT_CODE = 1


def end_with_parent(pipe: Connection) -> None:
    """End this process, whatever it is at, when the other end of `pipe` is closed.

    The other end is the parent's alone, so the kernel closes it when the parent dies, by SIGKILL too. Runs first in a
    child that was spawned; a forked one would hold the other end itself.

    Args:
        pipe: The end for reading of a `multiprocessing` pipe.
    """
    # Ctrl-C goes to the whole group. The parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait, args=(pipe,), daemon=True).start()


def _wait(pipe: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe.recv_bytes()
    os._exit(_EXIT_CODE)
