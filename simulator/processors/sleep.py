"""A processor that takes its time, and the value by which any processor says that its answer comes later."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import field, frozen

from simulator.durations import MAX_S, Duration


@frozen
class Later:
    """An answer that is due after a while; the instance waits, the processor does not.

    Attributes:
        seconds: How long, 0–3600.
        value: The answer then.
    """

    seconds: float
    value: Any

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.seconds <= MAX_S:
            raise ValueError(f"seconds: expected a number ≥ 0 and ≤ {MAX_S:g}, got {self.seconds!r}")


@frozen
class Sleep:
    """Answers the body, after a duration."""

    duration: Duration
    _rng: Random = field(factory=lambda: Random(0))

    def __call__(self, body: bytes) -> Later:
        """The body, later."""
        return Later(self.duration.draw(self._rng), body)


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
