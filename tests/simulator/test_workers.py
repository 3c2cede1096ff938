"""Workers, their queue, and the rate limit."""

from __future__ import annotations

from twisted.internet.task import Clock

from simulator.workers import RateLimit, Workers


class Job:
    """A job that ends immediately, or when the test ends it."""

    def __init__(self, workers: Workers, log: list[Job], *, ends_at_once: bool = False) -> None:
        self._workers = workers
        self._log = log
        self._ends_at_once = ends_at_once

    def begin(self) -> None:
        self._log.append(self)
        if self._ends_at_once:
            self._workers.done()


def test_jobs_begin_in_order_as_workers_have_time() -> None:
    workers, log = Workers(2, 2), []
    jobs = [Job(workers, log) for _ in range(5)]
    assert [workers.submit(job) for job in jobs] == [True, True, True, True, False]
    assert (log, workers.busy, workers.waiting) == (jobs[:2], 2, 2)
    workers.done()
    assert (log, workers.busy, workers.waiting) == (jobs[:3], 2, 1)


def test_a_job_that_is_withdrawn_never_begins() -> None:
    workers, log = Workers(1, 2), []
    jobs = [Job(workers, log) for _ in range(3)]
    for job in jobs:
        workers.submit(job)
    assert not workers.withdraw(jobs[0])
    assert workers.withdraw(jobs[1])
    assert not workers.withdraw(jobs[1])
    workers.done()
    assert log == [jobs[0], jobs[2]]


def test_a_long_queue_of_quick_jobs_needs_no_deep_stack() -> None:
    workers, log = Workers(1, 10_000), []
    workers.submit(Job(workers, log))
    for _ in range(10_000):
        assert workers.submit(Job(workers, log, ends_at_once=True))
    workers.done()
    assert (len(log), workers.busy, workers.waiting) == (10_001, 0, 0)


def test_a_rate_limit_fills_up_again() -> None:
    """A limit of two a second allows a burst of two, then one each half second. Tokens beyond two are not saved."""
    clock = Clock()
    limit = RateLimit(2, clock.seconds)
    assert [limit.admit() for _ in range(3)] == [0, 0, 1]
    clock.advance(0.5)
    assert [limit.admit() for _ in range(2)] == [0, 1]
    clock.advance(60)
    assert [limit.admit() for _ in range(3)] == [0, 0, 1]


def test_a_slow_rate_limit_returns_the_time_to_wait() -> None:
    clock = Clock()
    limit = RateLimit(0.1, clock.seconds)
    assert [limit.admit() for _ in range(2)] == [0, 10]
    clock.advance(2.5)
    assert limit.admit() == 8
