"""Bugs of retries: their outcomes, pauses and budget; one bug for each rule of the reference page."""

from __future__ import annotations

from typing import Any

from eas_tw.net.attempt import Attempt
from eas_tw.net.call import Call
from eas_tw.policy.outcomes import AttemptStatus
from eas_tw.policy.retry import RetryBudget, RetryPolicy
from tests.simulation.planted.bugs import Patch, bug


@bug("retry-budget", "budget", 20)
def budget_window_too_long(patch: Patch) -> None:
    """The budget covers a minute instead of 10 s."""
    init = RetryBudget.__init__

    def wide(self: RetryBudget, ratio: float, min_per_s: float) -> None:
        init(self, ratio, min_per_s)
        self.WINDOW_S = 60  # type: ignore[misc]

    patch(RetryBudget, "__init__", wide)


@bug("retry-budget", "budget", 20)
def budget_counts_calls_of_any_age(patch: Patch) -> None:
    """Calls that began before the window also add to the budget."""

    def turn_to(self: RetryBudget, now: float) -> Any:
        self._current = [float(int(now)), 0.0, 0.0]
        self._seconds.append(self._current)
        for second in self._seconds:
            if second[0] <= now - self.WINDOW_S:
                second[2] = 0.0
        return self._current

    patch(RetryBudget, "_turn_to", turn_to)


@bug("failure-explained retry-budget", "budget", 20)
def budget_counts_one_second_only(patch: Patch) -> None:
    """Only the calls of the last second count, so retries are refused too early."""
    patch(RetryBudget, "WINDOW_S", 1)
    init = RetryBudget.__init__

    def floor(self: RetryBudget, ratio: float, min_per_s: float) -> None:
        init(self, ratio, min_per_s)
        self._floor = min_per_s * 10

    patch(RetryBudget, "__init__", floor)


@bug("retry-pause", "budget", 20)
def retry_after_capped(patch: Patch) -> None:
    """The pause after `Retry-After` is bounded by `backoff_max_s`, so that a 429 is retried too early."""
    after_s = RetryPolicy._after_s

    def capped(self: RetryPolicy, history: Any, rng: Any, *, is_same: bool) -> float:
        return min(after_s(self, history, rng, is_same=is_same), self.backoff_max_s)

    patch(RetryPolicy, "_after_s", capped)


@bug("retry-pause")
def first_failover_after_a_pause(patch: Patch) -> None:
    after_s = RetryPolicy._after_s

    def slowly(self: RetryPolicy, history: Any, rng: Any, *, is_same: bool) -> float:
        return after_s(self, history, rng, is_same=is_same) or 0.02

    patch(RetryPolicy, "_after_s", slowly)


@bug("retry-pause", seeds=100)
def pauses_without_bound(patch: Patch) -> None:
    """Pauses exceed `backoff_max_s`."""
    after_s = RetryPolicy._after_s

    def unbounded(self: RetryPolicy, history: Any, rng: Any, *, is_same: bool) -> float:
        return 4 * after_s(self, history, rng, is_same=is_same)

    patch(RetryPolicy, "_after_s", unbounded)


@bug("retried-outcomes")
def final_statuses_retried(patch: Patch) -> None:
    """The statuses 500 and 502 are retried, although another instance with the same model would probably fail too."""
    is_retried = RetryPolicy._is_retried
    patch(RetryPolicy, "_is_retried", lambda self, last: last.status in (500, 502) or is_retried(self, last))


@bug("retried-outcomes", seeds=100)
def violations_retried(patch: Patch) -> None:
    is_retried = RetryPolicy._is_retried
    patch(
        RetryPolicy,
        "_is_retried",
        lambda self, last: last.attempt_status is AttemptStatus.VIOLATION or is_retried(self, last),
    )


@bug("failure-explained", seeds=100)
def status_503_not_retried(patch: Patch) -> None:
    is_retried = RetryPolicy._is_retried
    patch(RetryPolicy, "_is_retried", lambda self, last: last.status != 503 and is_retried(self, last))


@bug("failure-explained", seeds=100)
def status_450_not_retried(patch: Patch) -> None:
    is_retried = RetryPolicy._is_retried
    patch(RetryPolicy, "_is_retried", lambda self, last: last.status != 450 and is_retried(self, last))


@bug("failure-explained", "budget", 20)
def status_429_not_retried(patch: Patch) -> None:
    """A 429 with `Retry-After` fails the call."""
    is_retried = RetryPolicy._is_retried
    patch(RetryPolicy, "_is_retried", lambda self, last: last.status != 429 and is_retried(self, last))


@bug("attempt-timeout")
def attempt_timeout_ignored(patch: Patch) -> None:
    patch(Attempt, "timed_out", lambda self: None)


@bug("response-matches-request attempts-within-limit hedge-rules nothing-left sent-once", seeds=100)
def hidden_retry_in_an_attempt(patch: Patch) -> None:
    """A lost connection is retried outside of the retry policy."""
    broke = Attempt.broke

    def again(self: Attempt, outcome: Any) -> None:
        if outcome.attempt_status is AttemptStatus.LOST:
            self.dispatcher.submit(self, fresh=True)
        else:
            broke(self, outcome)

    patch(Attempt, "broke", again)


@bug("failure-explained", seeds=100)
def error_without_its_attempts(patch: Patch) -> None:
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
