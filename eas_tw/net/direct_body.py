"""Reception of a large body of known length directly into the memory of the result.

Twisted's transport reads at most 64 KiB at a time into a new object, and the parser and the collection of pieces each
copy it once more. For a body of 8 MiB, the copies and the allocation of their memory take most of the CPU time
(docs/performance). A `DirectBody` lets the socket write into the final object instead.
"""

from __future__ import annotations

import errno
from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.internet import main

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_BYTES = 2**18
"""The least number of missing bytes for which a direct reception is cheaper."""
_MOST_BYTES = 2**26
"""The greatest body that is received directly: the memory is reserved before the body has arrived."""
_NO_INPUT = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})
"""Errors of `recv_into` if no bytes have arrived."""
_LEAST_READ, _MOST_READ = 2**16, 2**20
"""Bounds on the bytes of one read: what a transport reads, and what does not delay other connections."""


class DirectBody:
    """The reception of a body whose first bytes have arrived.

    Args:
        transport: A transport of Twisted with a plain socket.
        length: Length of the whole body in bytes.
        first: The bytes that have arrived.
        on_bytes: A function that is called after each read with the number of bytes.
        on_whole: A function that is called with the body, after the transport's own method has been restored.
    """

    def __init__(
        self,
        transport: Any,
        length: int,
        first: bytes,
        on_bytes: Callable[[int], None],
        on_whole: Callable[[bytes], None],
    ) -> None:
        # `bytes(length)` gets zeroed pages from the system, which use no memory before they are written. `BytesIO`
        # takes over the object if there is no other reference to it, and `getvalue` returns it without a copy.
        self._buffer = BytesIO(bytes(length))
        self._view = self._buffer.getbuffer()
        self._view[: len(first)] = first
        self._at = len(first)
        self._read_bytes = min(max(length // 8, _LEAST_READ), _MOST_READ)
        self._transport = transport
        self._recv_into = transport.getHandle().recv_into
        self._on_bytes = on_bytes
        self._on_whole = on_whole
        # Replaces the transport's method, as `abortConnection` of Twisted does.
        transport.doRead = self._read

    def stop(self) -> None:
        """Restore the transport's method, unless the transport has replaced it."""
        if self._transport.doRead == self._read:
            del self._transport.doRead

    def _read(self) -> BaseException | None:
        """Read from the socket, as the transport's `doRead` does (`IReadDescriptor`)."""
        try:
            with self._view[self._at : self._at + self._read_bytes] as free:
                count: int = self._recv_into(free)
        except OSError as error:
            return None if error.errno in _NO_INPUT else main.CONNECTION_LOST
        if not count:
            return main.CONNECTION_DONE
        self._at += count
        self._on_bytes(count)
        if self._at == len(self._view):
            self.stop()
            self._view.release()
            self._on_whole(self._buffer.getvalue())
        return None


def is_direct(length: int, received_bytes: int = 0) -> bool:
    """Return whether a body of `length` bytes should be received directly after its first `received_bytes`."""
    return length <= _MOST_BYTES and length - received_bytes >= LEAST_BYTES
