"""Small arguments of requests, checked where they are given: integers, numbers, names."""

from __future__ import annotations

import operator
from typing import Any

from eas_tw.display import shown
from eas_tw.errors import BodyError

_INT32 = 2**31


def whole(value: Any, what: str, low: int = -_INT32, high: int = _INT32 - 1) -> int:
    """An integer in its range.

    Args:
        value: An int, or anything that is one, such as numpy's.
        what: For the message.
        low: The least it may be; with `high`, int32 unless said otherwise.
        high: The most it may be.

    Raises:
        BodyError: It is none, or outside.
    """
    try:
        number = operator.index(value)
    except TypeError as error:
        raise BodyError(f"{what} must be an integer, got {shown(value)}") from error
    if not low <= number <= high:
        raise BodyError(f"{what} must be from {low} to {high}, got {shown(number)}")
    return number
