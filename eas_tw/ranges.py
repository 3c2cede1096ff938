"""Numbers that a program sets: one check for settings, setters and arguments of calls."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from attrs import field, frozen

from eas_tw.display import shown
from eas_tw.errors import ConfigError

LARGEST = 2**63 - 1
"""No setting is larger: `sys.maxsize` may stand for "no bound", and sums with a clock's seconds stay exact floats."""


@frozen
class Range:
    """Which numbers are allowed.

    Attributes:
        low: The least.
        high: The most.
        above: Whether `low` itself is not allowed.
        whole: Whether it must be a whole number.
        none: Whether `None` is allowed.
    """

    low: float = field()
    high: float = field(default=LARGEST)
    above: bool = field(default=False, kw_only=True)
    whole: bool = field(default=False, kw_only=True)
    none: bool = field(default=False, kw_only=True)

    def check(self, name: str, value: Any) -> None:
        """Raise a `ConfigError` that names the setting, the value and what is allowed, unless the value is."""
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
        """The range in words; the bound that all settings share is named where it counts."""
        noun = "whole number" if self.whole else "number"
        text = f"a {noun} {'>' if self.above else '≥'} {self.low:g}"
        if self.high < LARGEST:
            text += f" and ≤ {self.high:g}"
        elif is_too_large:
            text += " and < 2**63"
        return f"{text}, or None" if self.none else text


def plain(value: Any) -> Any:
    """A number of another library, such as a scalar of numpy, as Python's own; anything else as it is."""
    if type(value) in (int, float, bool) or not isinstance(value, Real):
        return value
    try:
        return int(value) if isinstance(value, Integral) else float(value)
    except (ArithmeticError, ValueError):
        return value


POSITIVE = Range(0, above=True)
COUNT = Range(1, whole=True)


def checked(allowed: Range, name: str, value: Any) -> Any:
    """A number as Python's own.

    Raises:
        ConfigError: It is not allowed.
    """
    if type(value) is float and not allowed.whole and allowed.low < value < allowed.high:
        return value  # the usual case of a call, which has no time for the rest
    number = plain(value)
    allowed.check(name, number)
    return number


def milliseconds(name: str, value: Any) -> float:
    """Milliseconds as seconds.

    Raises:
        ConfigError: It is no number above 0.
    """
    seconds: float = checked(POSITIVE, name, value) / 1000
    return seconds or math.ulp(0.0)  # the least float stays above 0
