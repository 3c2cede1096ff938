"""Load of each instance: calls in flight, and a moving average of their latency.

The average is peak-sensitive (Finagle's peak EWMA): a slower response raises it to its own latency immediately, and
faster responses lower it over `DECAY_S`. The average of an idle instance decays, so that an instance that was slow is
tried again. Silence counts as latency: if an instance has calls in flight and has ended none of them for some
time, its latency is at least that time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

Key = tuple[str, int]

DECAY_S = 10.0
"""Time constant of the decay, Finagle's default."""
_FLOOR_S = 1e-4
"""Minimum of the latency, and the assumed latency of an instance that has not answered yet.

The value is low, so that a new instance is tried. The calls in flight of the new instance increase its load.
"""


_FORGOTTEN_S = 6 * DECAY_S
"""Seconds after which a latency has decayed to 1/400 and may be dropped."""


class _Load:
    __slots__ = ("cost_s", "in_flight", "seen", "silent_since", "streaming")

    def __init__(self) -> None:
        self.in_flight = 0
        self.streaming = 0
        self.silent_since = 0.0
        self.cost_s = 0.0
        self.seen = 0.0

    def cost_at(self, now: float) -> float:
        return self.cost_s * math.exp(-max(0.0, now - self.seen) / DECAY_S)

    def observe(self, elapsed_s: float, now: float) -> None:
        share = math.exp(-max(0.0, now - self.seen) / DECAY_S)
        self.cost_s = elapsed_s if elapsed_s > self.cost_s else self.cost_at(now) + elapsed_s * (1.0 - share)
        self.seen = now


class InFlight:
    """Counts the attempts in flight on each instance.

    Attributes:
        total: The attempts in flight on all instances.
    """

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self.total = 0

    def began(self, key: Key) -> None:
        """Record that an attempt is sent to an instance."""
        self._counts[key] = self._counts.get(key, 0) + 1
        self.total += 1

    def ended(self, key: Key) -> None:
        """Record that an attempt has ended."""
        count = self._counts[key] - 1
        self.total -= 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]

    def of(self, key: Key) -> int:
        """Return the number of attempts in flight on an instance."""
        return self._counts.get(key, 0)


class Loads:
    """The loads of the instances that have had a call."""

    def __init__(self) -> None:
        self._loads: dict[Key, _Load] = {}

    def began(self, key: Key, now: float, *, is_held: bool = False) -> None:
        """Record that a call is sent to an instance at `now`.

        Args:
            key: Ip and port of the instance.
            now: The time in seconds of the caller's clock.
            is_held: Whether the service may delay the response on purpose. Like a stream after its head, such a call
                does not count as silence.
        """
        load = self._loads.get(key)
        if load is None:
            load = self._loads[key] = _Load()
        if not load.in_flight:
            load.silent_since = now
        load.in_flight += 1
        load.streaming += is_held

    def stream_began(self, key: Key, elapsed_s: float, now: float) -> None:
        """Record that the head of a stream has arrived: the call continues, but does not count as silence."""
        load = self._loads[key]
        load.streaming += 1
        load.silent_since = now
        load.observe(elapsed_s, now)

    def ended(self, key: Key, elapsed_s: float | None, now: float, *, is_stream: bool = False) -> None:
        """Record that a call to an instance has ended.

        Args:
            key: Ip and port of the instance.
            elapsed_s: The duration of the call in seconds; `None` if it is not a latency of the instance.
            now: The time in seconds of the caller's clock.
            is_stream: Whether `stream_began`, or `began` with `is_held`, was called for the call.
        """
        load = self._loads[key]
        load.in_flight -= 1
        load.streaming -= is_stream
        load.silent_since = now
        if elapsed_s is not None:
            load.observe(elapsed_s, now)

    def keep(self, keys: Collection[Key], now: float) -> None:
        """Drop the instances that are not in `keys`, have no calls in flight, and whose latency has decayed.

        An ejected instance is not in `keys`. Its latency is needed when it returns, so the latency is kept until it has
        decayed.
        """
        for key in [key for key in self._loads if key not in keys]:
            load = self._loads[key]
            if not load.in_flight and now - load.seen >= _FORGOTTEN_S:
                del self._loads[key]

    def score(self, key: Key, now: float) -> float:
        """Return the estimated time of one more call in seconds: latency * (calls in flight + 1)."""
        load = self._loads.get(key)
        if load is None:
            return _FLOOR_S
        silence_s = now - load.silent_since if load.in_flight > load.streaming else 0.0
        return max(load.cost_at(now), silence_s, _FLOOR_S) * (load.in_flight + 1)
