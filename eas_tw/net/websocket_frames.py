"""Cuts the frames of a WebSocket server out of the bytes of its connection (RFC 6455 §5.2).

A binary message in one frame, which is all that a queue usually sends, is cut out here, at a fifteenth of what wsproto
costs. Control frames are passed to wsproto, one by one. With the first frame of any other kind, such as a fragment, a
text message or a frame that RFC 6455 forbids, wsproto takes over for the rest of the connection.
"""

from __future__ import annotations

_BINARY = 0x82
"""The first byte of a binary message in one frame: FIN, no reserved bit, opcode 2."""
_CONTROL = frozenset({0x88, 0x89, 0x8A})
"""The first byte of Close, Ping and Pong."""
_SHORT = 125
_EXTENDED = {126: (2, 126), 127: (8, 2**16)}
"""The lengths that say that the length follows: in how many bytes, and from which size on (RFC 6455 §5.2)."""


class FrameSplitter:
    """Splits the bytes after the upgrade into binary messages and what is for wsproto.

    Args:
        max_bytes: The maximum size of a message that is cut out here. A larger one is left to wsproto, which does not
            wait for its end.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_short = min(_SHORT, max_bytes)
        self._data: bytes | bytearray = b""
        self._at = 0
        self._needed_bytes = 0
        self._is_usual = True

    def feed(self, data: bytes) -> None:
        """Take bytes of the server; `split` returns what they contain."""
        if not self._data:
            self._data = data
        elif isinstance(self._data, bytearray):
            self._data += data
        else:
            self._data = bytearray(self._data) + data  # so that a large frame is not copied with each of its pieces

    def split(self) -> tuple[list[bytes], bytes]:
        """Return the messages at the front of what was fed.

        Returns:
            The messages, and the bytes after them that wsproto has to read before `split` is called again: a control
            frame, or everything from an unusual frame on. Empty bytes say that there is nothing more until `feed`.
        """
        messages: list[bytes] = []
        if len(self._data) < self._needed_bytes:
            return messages, b""
        data, at = bytes(self._data), self._at
        self._data, self._at, self._needed_bytes = b"", 0, 0
        size = len(data)
        while self._is_usual and size - at > 1:
            kind, length, start = data[at], data[at + 1], at + 2
            if kind == _BINARY and length in _EXTENDED:
                count, least = _EXTENDED[length]
                start += count
                if start > size:
                    self._needed_bytes = start - at
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
                self._is_usual = least <= length <= self._max_bytes
            else:  # a length above 125 is that of a masked frame, or of a control frame that is too long
                self._is_usual = (kind == _BINARY or kind in _CONTROL) and length <= self._max_short
            end = start + length
            if not self._is_usual:
                break
            if end > size:
                self._needed_bytes = end - at
                break
            if kind != _BINARY:
                self._data, self._at = data, end
                return messages, data[at:end]
            messages.append(data[start:end])
            at = end
        if self._is_usual:
            self._data = data[at:]
            return messages, b""
        return messages, data[at:]
