"""The workers of one instance, their queue, and the rate limit.

EAS processors have 5 workers and a queue of 64 by default; if all workers are busy and the queue is full, a
request is answered with 450.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDING = 1e-9


class Job(Protocol):
    """A unit of work for a worker."""

    def begin(self) -> None:
        """Begin, because a worker is free; `Workers.done` must be called when the job has ended."""


class Workers:
    """The workers of an instance, and the queue of their jobs.

    Args:
        count: Number of jobs that run at a time.
        queue: Number of further jobs that may wait.
    """

    def __init__(self, count: int, queue: int) -> None:
        self.count = count
        self.queue = queue
        self.busy = 0
        self._waiting: deque[Job] = deque()
        self._is_starting = False

    @property
    def waiting(self) -> int:
        """Number of queued jobs."""
        return len(self._waiting)

    def submit(self, job: Job) -> bool:
        """Begin a job, now or when a worker is free; return `False` if all workers are busy and the queue is full."""
        if self.busy < self.count:
            self.busy += 1
            job.begin()
            return True
        if len(self._waiting) >= self.queue:
            return False
        self._waiting.append(job)
        return True

    def withdraw(self, job: Job) -> bool:
        """Remove a job from the queue; return whether it was still queued."""
        if job in self._waiting:
            self._waiting.remove(job)
            return True
        return False

    def discard_waiting(self) -> None:
        """Remove all jobs from the queue."""
        self._waiting.clear()

    def done(self) -> None:
        """Release the worker of a job that has ended, and begin the next job."""
        self.busy -= 1
        if self._is_starting:
            return  # a job has ended inside its own `begin`: the loop of the outer call continues
        self._is_starting = True
        while self._waiting and self.busy < self.count:
            self.busy += 1
            self._waiting.popleft().begin()
        self._is_starting = False


class RateLimit:
    """A token bucket: `rate` requests per second, with a burst of `rate` requests, or of 1 if `rate` is below 1.

    Args:
        rate: Requests per second.
        seconds: Clock, in seconds.
    """

    def __init__(self, rate: float, seconds: Callable[[], float]) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._left = self._most
        self._seconds = seconds
        self._at = seconds()

    def admit(self) -> int:
        """Return 0 if the request is admitted, otherwise the number of whole seconds after which to retry."""
        now = self._seconds()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1 - _ROUNDING:
            self._left -= 1
            return 0
        return max(1, ceil((1 - self._left) / self._rate))
