"""A processor that takes its time, and the value by which any processor says that its answer comes later."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from simulator.durations import MAX_S, Duration


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


@frozen
class Sleep:
    """Answers the body, after a duration."""

    duration: Duration

    def __call__(self, body: bytes) -> Later:
        """The body, later."""
        return Later(self.duration, body)


def sleep(body: bytes) -> Later:
    """The body, after as many seconds as it says: `b"0.25"`.

    Raises:
        ValueError: The body is no number of seconds from 0 to 3600.
    """
    try:
        return Later(float(body), body)
    except ValueError:
        said = body[:40].decode("utf-8", "replace")
        raise ValueError(f"the body must be a number of seconds from 0 to {MAX_S:g}, got {said!r}") from None
