"""A token bucket, which limits the number of rows per second."""

from __future__ import annotations

import threading

BURST_S = 0.05
"""Maximum time, in seconds, for which unused tokens accumulate; a longer pause allows no larger burst."""

_ROUNDING = 1e-6
"""Tolerance, in tokens: when a timer fires at the computed time, rounding may leave slightly less than a token."""


class TokenBucket:
    """A token bucket, which several threads of a process may share.

    The bucket starts with the tokens of one request, so that the rate is not exceeded in the first second.

    Args:
        rate_per_s: The tokens that are added per second, > 0.
    """

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._tokens = 0.0
        self._counted_at: float | None = None
        self._lock = threading.Lock()

    def take(self, count: int, now: float) -> float:
        """Take tokens, if there are enough.

        Args:
            count: The number of tokens, ≥ 1.
            now: The current time, in seconds of a monotonic clock.

        Returns:
            1. 0, if the tokens were taken.
            2. The seconds until there will be enough tokens, > 0, if none was taken.
        """
        with self._lock:
            if self._counted_at is None:
                self._tokens = float(count)
            else:
                # The capacity is more than a request needs, so that a late timer does not reduce the rate.
                capacity = count + self._rate_per_s * BURST_S
                self._tokens = min(capacity, self._tokens + (now - self._counted_at) * self._rate_per_s)
            self._counted_at = now
            missing = count - self._tokens
            if missing > _ROUNDING:
                return missing / self._rate_per_s
            self._tokens -= count
            return 0.0
