"""Values in error messages, cut to a bounded length."""

from __future__ import annotations

import math
from reprlib import Repr

_MOST_CHARS = 80
_MOST_BITS = 128


class _Short(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = _MOST_CHARS

    def repr_int(self, value: int, level: int) -> str:  # noqa: ARG002  the interface's
        """Python refuses to print an integer of more than 4,300 digits, and nobody reads more than 40."""
        if value.bit_length() <= _MOST_BITS:
            return repr(value)
        digits = int(value.bit_length() * math.log10(2)) + 1
        return f"{'-' * (value < 0)}an integer of about {digits} digits"


_short = _Short()


def shown(value: object) -> str:
    """`repr(value)` for an error message.

    Returns:
        One line of at most 80 characters, whatever the value is; one that has no `repr` is shown by its type.
    """
    text = " ".join(_short.repr(value).split("\n"))
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"
