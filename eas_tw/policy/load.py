"""Load of each instance: calls in flight, and a moving average of their latency.

The average is peak-sensitive (Finagle's peak EWMA): a slower answer counts at once, faster answers lower the average
over `DECAY_S`. The average of an idle instance decays, so that an instance that was slow is tried again. Silence counts
before there is an answer: an instance that has calls and has ended none for some time is at least as slow as that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Key = tuple[str, int]

DECAY_S = 10.0
"""Time constant of the decay, Finagle's default."""
_FLOOR_S = 1e-4
"""Latency in seconds of an instance that has not answered yet.

It is low, so that the instance is tried; its calls in flight count already.
"""


class _Load:
    __slots__ = ("cost_s", "in_flight", "is_listed", "seen", "silent_since", "streaming")

    def __init__(self) -> None:
        self.in_flight = 0
        self.streaming = 0
        self.silent_since = 0.0
        self.cost_s = 0.0
        self.seen = 0.0
        self.is_listed = True

    def cost_at(self, now: float) -> float:
        return self.cost_s * math.exp(-max(0.0, now - self.seen) / DECAY_S)


class Loads:
    """The load of every instance that has had a call."""

    def __init__(self) -> None:
        self._loads: dict[Key, _Load] = {}

    def began(self, key: Key, now: float) -> None:
        """Record that a call is sent to an instance at `now`."""
        load = self._loads.get(key)
        if load is None:
            load = self._loads[key] = _Load()
        if not load.in_flight:
            load.silent_since = now
        load.in_flight += 1
        load.is_listed = True

    def stream_began(self, key: Key, now: float) -> None:
        """Record that the head of a stream has come from an instance: the call runs on, and is no silence."""
        load = self._loads[key]
        load.streaming += 1
        load.silent_since = now

    def ended(self, key: Key, elapsed_s: float | None, now: float, *, is_stream: bool = False) -> None:
        """Record that a call to an instance has ended.

        Args:
            key: Ip and port of the instance.
            elapsed_s: Seconds that the call took; `None` when that says nothing about the instance.
            now: Seconds of the caller's clock.
            is_stream: Whether `stream_began` was called for it.
        """
        load = self._loads[key]
        load.in_flight -= 1
        # Not below 0: an exception may have prevented `stream_began`.
        load.streaming = max(0, load.streaming - is_stream)
        load.silent_since = now
        if elapsed_s is not None:
            decayed = load.cost_at(now)
            share = math.exp(-max(0.0, now - load.seen) / DECAY_S)
            load.cost_s = elapsed_s if elapsed_s > load.cost_s else decayed + elapsed_s * (1.0 - share)
            load.seen = now
        if not load.in_flight and not load.is_listed:
            del self._loads[key]

    def forget(self, keys: Iterable[Key]) -> None:
        """Drop instances that left the list; each is kept until its calls in flight have ended."""
        for key in keys:
            load = self._loads.get(key)
            if load is not None:
                load.is_listed = False
                if not load.in_flight:
                    del self._loads[key]

    def in_flight(self, key: Key) -> int:
        """Return the number of running calls of an instance."""
        load = self._loads.get(key)
        return load.in_flight if load else 0

    def score(self, key: Key, now: float) -> float:
        """Return the expected seconds of one more call: the latency times the calls in flight plus one."""
        load = self._loads.get(key)
        if load is None:
            return _FLOOR_S
        silence_s = now - load.silent_since if load.in_flight > load.streaming else 0.0
        return max(load.cost_at(now), silence_s, _FLOOR_S) * (load.in_flight + 1)
