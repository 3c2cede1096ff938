"""Checks whether a socket has input, without reading it.

The socket of an idle connection may have received bytes, a FIN or a reset that the reactor has not reported yet,
because the reactor checks sockets once a turn, and requests are written between two checks. An HTTP client must not
parse such bytes as the response to the request that it is about to write (RFC 9112 §9.3 allows a server to close at any
time, and a faulty server may send at any time).
"""

from __future__ import annotations

import select
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def input_probe(handle: Any) -> Callable[[], object]:
    """Return a function that checks a non-blocking socket for input.

    Args:
        handle: The socket, or an object with its `recv`.

    Returns:
        A function whose result is true if bytes, the end of the stream or an error can be read.
    """
    if isinstance(handle, socket.socket) and hasattr(select, "poll"):
        # With one poll object for each socket, registered once, a check takes 0.24 µs. MSG_PEEK takes 0.72 µs, mostly
        # for the exception if there is no input. FIONREAD does not detect a FIN.
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return partial(poll.poll, 0)
    return partial(_can_peek, handle)


def _can_peek(handle: Any) -> bool:
    try:
        handle.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
