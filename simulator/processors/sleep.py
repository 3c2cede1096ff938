"""The `sleep` processor, and the value that a processor returns to delay its result."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from simulator.durations import MAX_S, Duration


def _duration(given: Any) -> Duration:
    return Duration.parse(given)


@frozen
class Later:
    """A result that is due after a delay; the instance waits, the processor has returned.

    Attributes:
        seconds: Delay: a number from 0 to 3600, or a `Duration` to draw from.
        value: The result.
    """

    seconds: Duration = field(converter=_duration)
    value: Any


@frozen
class Sleep:
    """Returns the body after a duration."""

    duration: Duration

    def __call__(self, body: bytes) -> Later:
        """Return the body, delayed."""
        return Later(self.duration, body)


def sleep(body: bytes) -> Later:
    """Return the body after the number of seconds that it contains: `b"0.25"`.

    Raises:
        ValueError: The body is not a number of seconds from 0 to 3600.
    """
    try:
        return Later(float(body), body)
    except ValueError:
        said = body[:40].decode("utf-8", "replace")
        raise ValueError(f"the body must be a number of seconds from 0 to {MAX_S:g}, got {said!r}") from None
