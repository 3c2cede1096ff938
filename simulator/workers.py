"""The workers of one instance, the queue before them, and the limit on the rate.

EAS processors have 5 workers and a queue of 64 by default; a request that finds both full is answered 450.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDING = 1e-9


class Job(Protocol):
    """What a worker does."""

    def begin(self) -> None:
        """A worker has time; `Workers.done` must be called when it has ended."""


class Workers:
    """Workers and their queue.

    Args:
        count: How many jobs run at a time.
        queue: How many more may wait.
    """

    def __init__(self, count: int, queue: int) -> None:
        self.count = count
        self.queue = queue
        self.busy = 0
        self._waiting: deque[Job] = deque()
        self._is_starting = False

    @property
    def waiting(self) -> int:
        """How many jobs are queued."""
        return len(self._waiting)

    def submit(self, job: Job) -> bool:
        """Begin a job, now or when a worker has time; `False` when even the queue is full."""
        if self.busy < self.count:
            self.busy += 1
            job.begin()
            return True
        if len(self._waiting) >= self.queue:
            return False
        self._waiting.append(job)
        return True

    def withdraw(self, job: Job) -> bool:
        """Take a job out of the queue; whether it was still in it."""
        if job in self._waiting:
            self._waiting.remove(job)
            return True
        return False

    def done(self) -> None:
        """A job that had begun has ended."""
        self.busy -= 1
        if self._is_starting:
            return  # a job that ended inside its own `begin`: the loop below goes on
        self._is_starting = True
        while self._waiting and self.busy < self.count:
            self.busy += 1
            self._waiting.popleft().begin()
        self._is_starting = False


class RateLimit:
    """A token bucket: `rate` requests a second, and as many at once after a quiet second.

    Args:
        rate: Requests a second.
        seconds: The clock.
    """

    def __init__(self, rate: float, seconds: Callable[[], float]) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._left = self._most
        self._seconds = seconds
        self._at = seconds()

    def admit(self) -> int:
        """0 when the request may pass; else the whole seconds after which one may."""
        now = self._seconds()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1 - _ROUNDING:
            self._left -= 1
            return 0
        return max(1, ceil((1 - self._left) / self._rate))
