"""Conversion of values and exceptions to text for error messages."""

from __future__ import annotations

import math
from reprlib import Repr

_MOST_CHARS = 80
_MOST_BITS = 128  # 39 decimal digits, so that a 128-bit identifier is still shown


class _Short(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = _MOST_CHARS

    def repr_int(self, value: int, level: int) -> str:  # noqa: ARG002  the interface's
        """Describe a large integer by its number of digits.

        `repr` raises `ValueError` for more than 4,300 digits (`sys.set_int_max_str_digits`), and takes quadratic time
        for fewer digits.
        """
        if value.bit_length() <= _MOST_BITS:
            return repr(value)
        digits = int(value.bit_length() * math.log10(2)) + 1
        return f"{'-' * (value < 0)}an integer of about {digits} digits"


_short = _Short()


def shown(value: object) -> str:
    """Return `repr(value)` for an error message.

    Returns:
        One line of at most 80 characters. If the value's `repr` raises an exception, the line has the type's name.
    """
    text = " ".join(_short.repr(value).split("\n"))
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"


def text_of(error: object) -> str:
    """Return the text of an error; the `__str__` of a program's own error class may raise an exception."""
    try:
        return str(error)
    except Exception as raised:  # noqa: BLE001  whatever the class raises
        return f"{type(error).__name__}, whose text cannot be made: {type(raised).__name__}"
