"""Range checks of numbers, for settings, setters and arguments of calls."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from attrs import field, frozen

from eas_tw.display import shown
from eas_tw.errors import ConfigError

LARGEST = 2**63 - 1
"""The largest allowed setting. Programs may use `sys.maxsize` for "no limit"; `LARGEST` converts to a finite float."""


@frozen
class Range:
    """A range of allowed numbers.

    Attributes:
        low: The minimum.
        high: The maximum; the value `high` is allowed.
        above: Whether the value `low` is excluded.
        whole: Whether only integers are allowed.
        none: Whether `None` is allowed.
    """

    low: float = field()
    high: float = field(default=LARGEST)
    above: bool = field(default=False, kw_only=True)
    whole: bool = field(default=False, kw_only=True)
    none: bool = field(default=False, kw_only=True)

    def check(self, name: str, value: Any) -> None:
        """Check a value.

        Args:
            name: The setting's name, for the error message.
            value: The value.

        Raises:
            ConfigError: The value is not allowed; the message has the name, the allowed range and the value.
        """
        if value is None and self.none:
            return
        kinds = int if self.whole else (int, float)
        if isinstance(value, kinds) and not isinstance(value, bool):
            # NaN is in no range, and Python compares integers of any size with floats exactly.
            if self.low <= value <= self.high and not (self.above and value == self.low):
                return
            is_too_large = value > self.high
        else:
            is_too_large = False
        raise ConfigError(f"{name} must be {self._allowed(is_too_large)}, got {shown(value)}")

    def _allowed(self, is_too_large: bool) -> str:  # noqa: FBT001
        """Describe the range for an error message; `LARGEST` is mentioned only if it was exceeded."""
        noun = "whole number" if self.whole else "number"
        text = f"a {noun} {'>' if self.above else '≥'} {self.low:g}"
        if self.high < LARGEST:
            text += f" and ≤ {self.high:g}"
        elif is_too_large:
            text += " and < 2**63"
        return f"{text}, or None" if self.none else text


def plain(value: Any) -> Any:
    """Convert a number such as a numpy scalar to `int` or `float`, and return any other value unchanged."""
    if type(value) in (int, float, bool) or not isinstance(value, Real):
        return value
    try:
        return int(value) if isinstance(value, Integral) else float(value)
    except (ArithmeticError, ValueError):
        return value


POSITIVE = Range(0, above=True)
COUNT = Range(1, whole=True)


def checked(allowed: Range, name: str, value: Any) -> Any:
    """Check a number, and convert it to `int` or `float`.

    Args:
        allowed: The allowed range.
        name: The setting's name, for the error message.
        value: The number.

    Raises:
        ConfigError: The number is not allowed.
    """
    if type(value) is float and not allowed.whole and allowed.low < value < allowed.high:
        return value  # fast path, because each call checks its timeout_s
    number = plain(value)
    allowed.check(name, number)
    return number


def milliseconds(name: str, value: Any) -> float:
    """Convert milliseconds to seconds.

    Args:
        name: The setting's name, for the error message.
        value: Milliseconds, > 0.

    Returns:
        Seconds, > 0.

    Raises:
        ConfigError: `value` is not a number above 0.
    """
    seconds: float = checked(POSITIVE, name, value) / 1000
    return seconds or math.ulp(0.0)  # the smallest float divided by 1000 is 0, which is no valid timeout
