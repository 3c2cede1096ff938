"""Parsing of server-sent events, by the WHATWG HTML standard (§9.2.5 and §9.2.6).

The stream is UTF-8 with an optional byte order mark. Lines end with CR, LF or CRLF. A piece of the stream may end at
any byte, even inside a character or between CR and LF.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from functools import partial
from typing import NamedTuple

from eas_tw.errors import BodyError

MAX_EVENT_BYTES = 1 << 20
"""The default maximum size of an event, so that a server that never ends a line cannot fill the memory."""


_RETRY_DIGITS = 18
"""Digits of a reconnection time that are parsed. Further digits are ignored: parsing a very long integer is slow."""


class ServerSentEvent(NamedTuple):
    """One event.

    Attributes:
        data: The values of the `data` lines, joined by newlines.
        event: The event type; `message` if the server sent none.
        id: The last event ID of the stream so far; empty if there is none.
        retry: The reconnection time of this event in milliseconds; `None` if it has none.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


_MOST_PARTS = 1024
"""The number of parts of an unfinished line above which they are joined, because each part has 50 bytes of overhead."""
_EVENT_LINES = 2
"""Number of lines of an event with one field: the field, and an empty line."""
_new_event = partial(tuple.__new__, ServerSentEvent)
"""Makes an event from a tuple of all fields, in half the time of `ServerSentEvent.__new__`."""


class LineSplitter:
    """Splits the pieces of a body into lines of text, without their line ends; LF, CR and CRLF end a line.

    Args:
        max_line_bytes: The maximum length of a line, in bytes of UTF-8, without its line end.
    """

    def __init__(self, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._max = max_line_bytes
        self._rest: list[str] = []
        self._size = 0
        self._after_cr = False

    def feed(self, piece: bytes) -> list[str]:
        """Return the lines that a piece completes.

        Raises:
            BodyError: The unfinished line is longer than the maximum.
        """
        text = self._decoder.decode(piece)
        if not text:
            return []
        if self._after_cr:
            self._after_cr = False
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        # A line can exceed the limit only if the unfinished line and this piece together exceed it.
        is_long = self._size + len(piece) > self._max and self._is_exceeded(lines)
        if self._rest and len(lines) > 1:
            lines[0] = "".join([*self._rest, lines[0]])
            self._rest, self._size = [], 0
        last = lines.pop()
        if last:
            self._rest.append(last)
            self._size += _size(last)
            if len(self._rest) > _MOST_PARTS:
                self._rest = ["".join(self._rest)]
        if is_long:
            raise BodyError(f"a line is longer than {self._max} bytes")
        return lines

    def _is_exceeded(self, lines: list[str]) -> bool:
        """Return whether a line is longer than the limit; the first of `lines` continues the unfinished line."""
        return self._size + _size(lines[0]) > self._max or any(_size(line) > self._max for line in lines[1:])

    @property
    def is_at_start_of_line(self) -> bool:
        """Whether the input so far ends with a whole line; `False` after a CR, because an LF may follow."""
        return not (self._rest or self._after_cr or self._decoder.getstate()[0])

    def finish(self) -> list[str]:
        """Return the last line, if it has no line end."""
        rest = "".join([*self._rest, self._decoder.decode(b"", final=True)])
        self._rest = []
        return [rest] if rest else []


def _size(text: str) -> int:
    """Return the length of a text in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


class ServerSentEventParser:
    """Parses the pieces of a stream to events.

    Args:
        max_event_bytes: The maximum size of the data of an event, in bytes of UTF-8. A line may be six bytes
            longer, for the name of its field.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._lines = LineSplitter(max_event_bytes + len("data: "))
        self._is_first = True
        self._is_between_events = True
        self._data: list[str] = []
        self._data_size = 0
        self._type = ""
        self._last_id = ""
        self._retry: int | None = None

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Parse a piece of the stream.

        Returns:
            The events that the piece completes. An event that is incomplete at the end of the stream is dropped.

        Raises:
            BodyError: An event is larger than the maximum.
        """
        if self._is_between_events and piece.startswith(b"data: ") and piece.endswith(b"\n\n"):
            # Fast path: most pieces are one event with one data line, which need not be split into lines and fields.
            lines = piece.splitlines()
            if len(lines) == _EVENT_LINES and len(piece) <= self._max:
                self._is_first = False
                retry, self._retry = self._retry, None
                data = lines[0][6:].decode("utf-8", "replace")
                return [_new_event((data, "message", self._last_id, retry))]
        found = self._feed_lines(piece)
        self._is_between_events = not (self._data or self._type) and self._lines.is_at_start_of_line
        return found

    def _feed_lines(self, piece: bytes) -> list[ServerSentEvent]:
        found: list[ServerSentEvent] = []
        for line in self._lines.feed(piece):
            text = line
            if self._is_first:
                self._is_first = False
                text = line.removeprefix("\ufeff")
            if text:
                self._take(text)
            elif (event := self._dispatch()) is not None:
                found.append(event)
        return found

    def _take(self, line: str) -> None:
        """Process one field; a line without a colon is a field without a value."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_size += _size(value) + 1
            if self._data_size > self._max:
                raise BodyError(f"a server-sent event is larger than {self._max} bytes")
        elif name == "event":
            self._type = value
        elif name == "id":
            if "\0" not in value:
                self._last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value[:_RETRY_DIGITS])
        # A line with an empty name is a comment; other fields are ignored.

    def _dispatch(self) -> ServerSentEvent | None:
        """Return the event at its final empty line; `None` for an event without data, which is dropped."""
        data, kind = self._data, self._type
        self._data, self._data_size, self._type = [], 0, ""
        if not data:
            return None
        retry, self._retry = self._retry, None
        return ServerSentEvent("\n".join(data), kind or "message", self._last_id, retry)
