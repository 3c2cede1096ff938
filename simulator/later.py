"""The value by which a processor says that its answer, or a piece of it, comes later."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from simulator.durations import Duration


def _duration(given: Any) -> Duration:
    return Duration.parse(given)


@frozen
class Later:
    """An answer that is due after a while; the instance waits, the processor does not.

    Attributes:
        seconds: How long: a number from 0 to 3600, or a `Duration` to draw from.
        value: The answer then.
    """

    seconds: Duration = field(converter=_duration)
    value: Any
