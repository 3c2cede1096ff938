"""Child processes that end when their parent process ends, even if the parent is killed."""

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
    """End this process as soon as the other end of `pipe` is closed.

    Only the parent has the other end open, so the kernel closes it when the parent ends, even by SIGKILL. The function
    must be called first in a spawned child. In a forked child the function does not work, because the child inherits
    the other end, which is then never closed.

    Args:
        pipe: The reading end of a `multiprocessing` pipe.
    """
    # On Ctrl-C, a terminal sends SIGINT to the whole process group. The parent handles SIGINT and ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait, args=(pipe,), daemon=True).start()


def _wait(pipe: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe.recv_bytes()
    os._exit(_EXIT_CODE)
