"""Incremental parsing of a long JSON list, one element at a time.

`json.loads` parses a whole document in one call. With a list of 100,000 rows it would block the reactor too long, and
one row that Python cannot represent (a number of 5,000 digits, brackets 2,000 deep) would make the whole list unusable.
This module parses the outer levels in Python, and each element with the C scanner of the standard library. Rows are not
interpreted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\n\r]*")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SKIPPED_CHARS = 2**16
"""Maximum length of an element that is nested too deeply and can be skipped."""

_LONGEST_INT = 640
"""Maximum digits of an integer: the lowest limit that `sys.set_int_max_str_digits` accepts, so `int` never raises."""


class TooDeep:
    """The type of `TOO_DEEP`."""


TOO_DEEP = TooDeep()


def _integer(digits: str) -> int | float:
    """Convert digits to an integer, or to a float, which may be infinite, if there are more than 640 digits."""
    return int(digits) if len(digits) <= _LONGEST_INT else float(digits)


_Scan = Callable[[str, int], tuple[Any, int]]
_scan: _Scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # the scanner that `raw_decode` calls
_scan_any_number: _Scan = json.JSONDecoder(parse_int=_integer).scan_once  # type: ignore[attr-defined]


def loads(text: str) -> Any:
    """Parse a whole document as `json.loads` does, with numbers of any length.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply.
    """
    cursor = JsonCursor(text)
    value = cursor.value()
    cursor.end()
    if value is TOO_DEEP:
        raise ValueError("it is nested too deeply")
    return value


class JsonCursor:
    """A read position in a JSON document.

    Every method raises `ValueError` if the text at the position is not JSON.

    Attributes:
        at: Number of characters before the position.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self._skip_space()

    def is_before(self, bracket: str) -> bool:
        """Return whether the next character is `bracket`."""
        return self._text.startswith(bracket, self.at)

    def value(self) -> Any:
        """Parse a value of any kind; return `TOO_DEEP` for a value that is nested too deeply."""
        try:
            value, self.at = self._scanned()
        except StopIteration:
            raise self._unexpected("a value") from None
        except RecursionError:
            value = TOO_DEEP
            self._skip_brackets()
        self._skip_space()
        return value

    def members(self) -> Iterator[str]:
        """Yield each key of the object at the position; the caller must read each value before the next key."""
        self._take("{")
        if self._takes("}"):
            return
        while True:
            if not self.is_before('"'):
                raise self._unexpected("a key")
            key: str = self.value()
            self._take(":")
            yield key
            if self._takes("}"):
                return
            self._take(",")

    def elements(self) -> Iterator[Any]:
        """Yield each element of the list at the position."""
        self._take("[")
        if self._takes("]"):
            return
        text = self._text
        while True:
            # The usual case of `value` is repeated inline, because this loop runs 100,000 times for a long list.
            try:
                value, self.at = _scan(text, self.at)
            except (StopIteration, ValueError, RecursionError):
                value = self.value()
            yield value
            if text.startswith(",", self.at):
                self.at += 1
                self._skip_space()
                continue
            self._skip_space()
            if self._takes("]"):
                return
            self._take(",")

    def end(self) -> None:
        """Check that the document ends at the position."""
        if self.at < len(self._text):
            raise self._unexpected("the end")

    def _scanned(self) -> tuple[Any, int]:
        try:
            return _scan(self._text, self.at)
        except json.JSONDecodeError:
            raise
        except ValueError:
            return _scan_any_number(self._text, self.at)

    def _skip_brackets(self) -> None:
        depth = 0
        for found in _BRACKETS.finditer(self._text, self.at, self.at + _SKIPPED_CHARS):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found.group(), 0)
            if depth == 0:
                self.at = found.end()
                return
        raise ValueError(f"it is nested too deeply at character {self.at}")

    def _skip_space(self) -> None:
        if self._text[self.at : self.at + 1] in (" ", "\n", "\r", "\t"):
            self.at = _SPACE.match(self._text, self.at).end()  # type: ignore[union-attr]  # always matches, also ""

    def _takes(self, mark: str) -> bool:
        if not self._text.startswith(mark, self.at):
            return False
        self.at += 1
        self._skip_space()
        return True

    def _take(self, mark: str) -> None:
        if not self._takes(mark):
            raise self._unexpected(mark)

    def _unexpected(self, wanted: str) -> ValueError:
        found = self._text[self.at : self.at + 1]
        return ValueError(f"{wanted} was expected at character {self.at}, not {found!r}")
