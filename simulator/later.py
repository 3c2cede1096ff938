"""The value that a processor returns to delay its result, or yields to delay a piece of a stream."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from simulator.durations import Duration


def _duration(given: Any) -> Duration:
    return Duration.parse(given)


@frozen
class Later:
    """A result that the instance uses after a delay. The processor returns it immediately and does not block.

    Attributes:
        seconds: Delay: a number from 0 to 3600, or a `Duration` to draw from.
        value: The result.
    """

    seconds: Duration = field(converter=_duration)
    value: Any
