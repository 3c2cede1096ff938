"""The `sleep` processor, which delays its response."""

from __future__ import annotations

from attrs import frozen

from simulator.durations import MAX_S, Duration
from simulator.later import Later


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
