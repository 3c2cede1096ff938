"""Bugs of retries: what is tried again, when, and within which budget. One for each sentence of the reference page."""

from __future__ import annotations

from typing import Any

from eas_tw.net.attempt import Attempt
from eas_tw.net.call import Call
from eas_tw.policy.outcomes import AttemptStatus
from eas_tw.policy.retry import RetryBudget, RetryPolicy
from tests.simulation.planted.bugs import Patch, bug


@bug("retry-budget", "budget", 20)
def budget_window_too_long(patch: Patch) -> None:
    """What was not spent in the last minute may be spent at once; the share and the floor are right."""
    init = RetryBudget.__init__

    def wide(self: RetryBudget, ratio: float, min_per_s: float) -> None:
        init(self, ratio, min_per_s)
        self.WINDOW_S = 60  # type: ignore[misc]

    patch(RetryBudget, "__init__", wide)


@bug("retry-budget", "budget", 20)
def budget_of_every_call(patch: Patch) -> None:
    """Calls of any age earn, so that a long calm pays for a storm."""

    def turn_to(self: RetryBudget, now: float) -> Any:
        self._current = [float(int(now)), 0.0, 0.0]
        self._seconds.append(self._current)
        for second in self._seconds:
            if second[0] <= now - self.WINDOW_S:
                second[2] = 0.0
        return self._current

    patch(RetryBudget, "_turn_to", turn_to)


@bug("failure-explained retry-budget", "budget", 20)
def budget_that_hardly_earns(patch: Patch) -> None:
    """Calls earn for one second only, so retries are refused while there is room."""
    patch(RetryBudget, "WINDOW_S", 1)
    init = RetryBudget.__init__

    def floor(self: RetryBudget, ratio: float, min_per_s: float) -> None:
        init(self, ratio, min_per_s)
        self._floor = min_per_s * 10

    patch(RetryBudget, "__init__", floor)


@bug("retry-pause", "budget", 20)
def retry_after_capped(patch: Patch) -> None:
    """By the bound of the backoff, so that a rate limit is tried again too early."""
    after_s = RetryPolicy._after_s

    def capped(self: RetryPolicy, where: Any, history: Any, rng: Any) -> float:
        return min(after_s(self, where, history, rng), self.backoff_max_s)

    patch(RetryPolicy, "_after_s", capped)


@bug("retry-pause")
def first_failover_after_a_pause(patch: Patch) -> None:
    after_s = RetryPolicy._after_s

    def slowly(self: RetryPolicy, where: Any, history: Any, rng: Any) -> float:
        return after_s(self, where, history, rng) or 0.02

    patch(RetryPolicy, "_after_s", slowly)


@bug("retry-pause", seeds=100)
def pauses_without_bound(patch: Patch) -> None:
    """They double from the bound on, and not up to it."""
    after_s = RetryPolicy._after_s

    def unbounded(self: RetryPolicy, where: Any, history: Any, rng: Any) -> float:
        return 4 * after_s(self, where, history, rng)

    patch(RetryPolicy, "_after_s", unbounded)


@bug("retried-outcomes")
def final_statuses_tried_again(patch: Patch) -> None:
    """A 500 says that the request is bad for this model; somebody else has the same model."""
    is_retried = RetryPolicy._is_retried
    patch(RetryPolicy, "_is_retried", lambda self, last: last.status in (500, 502) or is_retried(self, last))


@bug("retried-outcomes", seeds=100)
def violations_tried_again(patch: Patch) -> None:
    is_retried = RetryPolicy._is_retried
    patch(
        RetryPolicy,
        "_is_retried",
        lambda self, last: last.attempt_status is AttemptStatus.VIOLATION or is_retried(self, last),
    )


@bug("failure-explained", seeds=100)
def unavailable_is_final(patch: Patch) -> None:
    """A 503 reaches the caller."""
    is_retried = RetryPolicy._is_retried
    patch(RetryPolicy, "_is_retried", lambda self, last: last.status != 503 and is_retried(self, last))


@bug("failure-explained", seeds=100)
def full_queue_is_final(patch: Patch) -> None:
    """A 450 reaches the caller."""
    is_retried = RetryPolicy._is_retried
    patch(RetryPolicy, "_is_retried", lambda self, last: last.status != 450 and is_retried(self, last))


@bug("failure-explained", "budget", 20)
def rate_limit_is_final(patch: Patch) -> None:
    """Though it says when to come again."""
    is_retried = RetryPolicy._is_retried
    patch(RetryPolicy, "_is_retried", lambda self, last: last.status != 429 and is_retried(self, last))


@bug("attempt-timeout")
def attempt_timeout_ignored(patch: Patch) -> None:
    patch(Attempt, "timed_out", lambda self: None)


@bug("response-matches-request attempts-within-limit hedge-rules nothing-left", seeds=100)
def tried_again_out_of_sight(patch: Patch) -> None:
    """The pool has a retry of its own for a connection that was lost."""
    broke = Attempt.broke

    def again(self: Attempt, outcome: Any) -> None:
        if outcome.attempt_status is AttemptStatus.LOST:
            self.line.submit(self, fresh=True)  # type: ignore[union-attr]
        else:
            broke(self, outcome)

    patch(Attempt, "broke", again)


@bug("failure-explained", seeds=100)
def error_without_its_attempts(patch: Patch) -> None:
    """The history is forgotten before the error is made of it."""
    fail = Call._fail

    def bare(self: Call, error: Exception) -> None:
        if hasattr(error, "attempts"):
            error.attempts = ()
        fail(self, error)

    patch(Call, "_fail", bare)


@bug("telemetry-consistent", seeds=100)
def retry_counted_twice(patch: Patch) -> None:
    retried = Call._retry

    def twice(self: Call, decision: Any, now: float) -> None:
        self._context.record.counters.retries[self.history[-1].outcome.label] += 1
        retried(self, decision, now)

    patch(Call, "_retry", twice)
