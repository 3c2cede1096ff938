"""Checks of integer arguments of requests."""

from __future__ import annotations

import operator
from typing import Any

from eas_tw.display import shown
from eas_tw.errors import BodyError

_INT32 = 2**31


def whole(value: Any, what: str, low: int = -_INT32, high: int = _INT32 - 1) -> int:
    """Return an integer after checking its range.

    Args:
        value: An int, or an object with `__index__`, such as numpy's integers.
        what: The name of the argument, for the message.
        low: The least allowed value; by default the least int32.
        high: The greatest allowed value; by default the greatest int32.

    Raises:
        BodyError: The value is not an integer, or is out of range.
    """
    try:
        number = operator.index(value)
    except TypeError as error:
        raise BodyError(f"{what} must be an integer, got {shown(value)}") from error
    if not low <= number <= high:
        raise BodyError(f"{what} must be from {low} to {high}, got {shown(number)}")
    return number
