"""Retry policy: whether a failed call is retried, on which instance, and after what pause.

No other module retries; the layers below only report an outcome. The decision is a function of the call's attempts.

- Outcomes: `retry_on` lists the outcomes that are retried (the page on errors in docs/reference shows its default). A
  429 with a `Retry-After` is retried after that time, never immediately.
- Instance: an instance that the call has not tried. With more than one instance in the list, a call is not sent again
  to an instance that has failed it (a rule of the official SDKs). The only instance of a list may be tried again. A
  stale connection is not a failure of its instance, which may be tried again when no untried instance is left.
- Pause: none before the first failover; full jitter before later ones and before every retry on the same instance.
  There is no pause after `overloaded`, a full queue of this client, except before a call that is repeated until its
  deadline tries the same instance again. After `local_resource` there is always a pause, because attempts on every
  instance need the resource that this machine lacks.
- Number: at most `attempts` for each call, and a retry budget for all calls (as in Finagle: a share of the calls plus a
  floor). The first stale connection of a call does not count as an attempt. Attempts that never reached an instance
  count towards neither bound while another instance is left to try (as gRPC's transparent retries): they cause no load
  on the fleet, and the number of instances bounds them. Attempts that a call has abandoned because their instance is
  silent do not count as `attempts` either; the budget bounds them.

This client does not see the instances behind a gateway. A gateway's 502 means that the instance it chose did not
answer. The gateway chooses again for each attempt, independently of the previous choice, and may choose the dead
instance again. So a 502 of a gateway costs a quarter of an attempt: three attempts become twelve, and with a third of
the instances dead two calls in a million fail instead of one in 27. The first `attempts` of a call do not use the
budget, like refused connections, since a refused connection is the usual cause of a 502. Further attempts use it, so
that a service whose instances are all down gets a bounded number of requests.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from eas_tw.policy.outcomes import NEVER_SENT, NOT_ITS_FAULT, AttemptStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from eas_tw.policy.outcomes import AttemptResult, Outcome

RATE_LIMITED = 429
QUEUE_FULL = 450
SERVER_ERROR = 500
BAD_GATEWAY = 502
UNAVAILABLE = 503
GATEWAY_TIMEOUT = 504


class _Default(frozenset[AttemptStatus | int]):
    """The type of `DEFAULT_RETRY_ON`, which distinguishes the default from an equal set that a program passes."""

    def __repr__(self) -> str:
        return "DEFAULT_RETRY_ON"

    def __reduce__(self) -> str:
        return "DEFAULT_RETRY_ON"


DEFAULT_RETRY_ON: frozenset[AttemptStatus | int] = _Default(
    {
        AttemptStatus.CONNECT_REFUSED,
        AttemptStatus.CONNECT_TIMEOUT,
        AttemptStatus.CONNECT_FAILED,
        AttemptStatus.LOCAL_RESOURCE,
        AttemptStatus.STALE,
        AttemptStatus.UNSENT,
        AttemptStatus.LOST,
        AttemptStatus.RESPONSE_TRUNCATED,
        AttemptStatus.ATTEMPT_TIMEOUT,
        AttemptStatus.INSTANCE_REMOVED,
        AttemptStatus.QUEUE_TIMEOUT,
        AttemptStatus.OVERLOADED,
        QUEUE_FULL,
        UNAVAILABLE,
    }
)
"""Outcomes that are retried by default.

`ATTEMPT_TIMEOUT` is included, because it occurs only if the caller sets `attempt_timeout_s`, whose purpose is to try
another instance while time is left. `VIOLATION` is not included, because it usually means that another kind of server
listens at the address, and what it did with the request is unknown.
"""


GATEWAY_RETRY_ON = DEFAULT_RETRY_ON | {BAD_GATEWAY, GATEWAY_TIMEOUT}
"""The default of `retry_on` for calls through a gateway.

A gateway's 502 and 504 report a failure of an instance behind it. An instance's own 502 or 504 reports a failure of a
server behind the instance, and is not retried.
"""

# With a third of the instances dead, twelve attempts of a call fail for two in a million; three fail for one in 27.
_NOT_SERVED_COST = 0.25
_AT_ONCE = NOT_ITS_FAULT | {AttemptStatus.OVERLOADED}
"""Outcomes that are retried without a pause, because the instance has not failed; for an exception see `_after_s`."""
_FREE = NEVER_SENT - NOT_ITS_FAULT - {AttemptStatus.LOCAL_RESOURCE}
"""Outcomes that do not count as attempts while another instance is left.

The request has not reached the instance, and the call is not sent to that instance again. `UNSENT` is not included,
because after it the call may be sent to the same instance again, so the number of such attempts would have no bound.
"""


_RETRIED_UNTIL_DEADLINE = frozenset({RATE_LIMITED, SERVER_ERROR, BAD_GATEWAY, GATEWAY_TIMEOUT})
_NO_BOUND = 2**31
"""`attempts` of calls that are bounded only by their deadline and the retry budget."""
_MIN_LOCAL_PAUSE_S = 0.01
"""Minimum pause after `local_resource`, and after a full queue in calls that are repeated until their deadline.

These attempts are not counted, so the pause must bound their rate.
"""
_MAX_DOUBLINGS = 16


@frozen
class Retry:
    """A decision to retry after `after_s` seconds; the fleet chooses the instance."""

    after_s: float = 0.0


@frozen
class GiveUp:
    """A decision to fail the call; `why` is the end of the error message."""

    why: str


@frozen
class Options:
    """The state of a call, besides its attempts, on which the decision about a retry depends.

    Attributes:
        another: Whether an instance exists that has not failed in this call. An instance with a stale connection has
            not failed, but untried instances are tried before it.
        sole: Whether the list has exactly one instance.
        remaining_s: Seconds until the call's deadline.
        is_idempotent: Whether the call may be executed twice. If `False`, it is retried only after attempts that
            provably never reached an instance.
    """

    another: bool
    sole: bool
    remaining_s: float
    is_idempotent: bool = True


class RetryBudget:
    """A bound on retries: a share of the calls of the last 10 s, plus a floor, as in Finagle.

    It prevents retry storms, and does not affect occasional failovers.

    Args:
        ratio: Allowed retries per call, ≥ 0.
        min_per_s: Additional retries per second, which are allowed even without calls, ≥ 0.
    """

    WINDOW_S = 10

    def __init__(self, ratio: float, min_per_s: float) -> None:
        self._ratio = ratio
        self._floor = min_per_s * self.WINDOW_S
        self._seconds: deque[list[float]] = deque()  # [second, calls, retries]
        self._current = [-1.0, 0.0, 0.0]

    def record_call(self, now: float) -> None:
        """Count a call, which adds `ratio` retries to the budget."""
        current = self._current
        if now - current[0] >= 1.0:
            current = self._turn_to(now)
        current[1] += 1.0

    def spend(self, now: float, share: float = 1.0) -> bool:
        """Take one retry out of the budget.

        Args:
            now: The time in seconds of the caller's clock.
            share: The part of the budget that this kind of retry may use, 0-1.

        Returns:
            Whether the budget allowed the retry.
        """
        if now - self._current[0] >= 1.0:
            self._turn_to(now)
        calls = sum(second[1] for second in self._seconds)
        retries = sum(second[2] for second in self._seconds)
        if retries + 1.0 > share * (self._ratio * calls + self._floor):
            return False
        self._current[2] += 1.0
        return True

    def _turn_to(self, now: float) -> list[float]:
        self._current = [float(int(now)), 0.0, 0.0]
        self._seconds.append(self._current)
        while self._seconds[0][0] <= now - self.WINDOW_S:
            self._seconds.popleft()
        return self._current


@frozen
class RetryPolicy:
    """The retry settings; units and defaults are those of `ClientConfig`.

    Attributes:
        not_served: Statuses of a gateway which mean that the instance it chose did not answer; empty without a gateway.
    """

    attempts: int = 3
    retry_on: frozenset[AttemptStatus | int] = DEFAULT_RETRY_ON
    backoff_base_s: float = 0.025
    backoff_max_s: float = 0.25
    not_served: frozenset[int] = frozenset()

    @classmethod
    def through_gateway(
        cls, attempts: int, retry_on: frozenset[AttemptStatus | int], backoff_base_s: float, backoff_max_s: float
    ) -> RetryPolicy:
        """Return the policy of calls through a gateway, which has another default of `retry_on`."""
        if retry_on is DEFAULT_RETRY_ON:
            retry_on = GATEWAY_RETRY_ON
        return cls(attempts, retry_on, backoff_base_s, backoff_max_s, frozenset({BAD_GATEWAY}))

    def until_deadline(self) -> RetryPolicy:
        """Return the policy of calls that are repeated until their deadline, on each instance more than once.

        If `retry_on` has its default, 429, 500, 502 and 504 are retried, too, because a repetition costs less than a
        failure (`net.repeated_call`). With `attempts=1` there is one attempt, as for other calls.
        """
        retry_on = self.retry_on
        if retry_on in (DEFAULT_RETRY_ON, GATEWAY_RETRY_ON):
            retry_on = retry_on | _RETRIED_UNTIL_DEADLINE
        return evolve(self, attempts=self.attempts if self.attempts == 1 else _NO_BOUND, retry_on=retry_on)

    def decide(
        self, history: Sequence[AttemptResult], options: Options, *, budget: RetryBudget, now: float, rng: Random
    ) -> Retry | GiveUp:
        """Decide whether to retry after the last attempt of `history`, which has failed."""
        last = history[-1].outcome
        stop_reason = self._stop_reason(history, options)
        if stop_reason:
            return GiveUp(stop_reason)
        if not (options.another or options.sole):
            return GiveUp("is not retried, because every instance has failed in this call")
        after_s = self._after_s(history, rng, is_same=not options.another)
        if after_s >= options.remaining_s:
            return GiveUp("left no time before the deadline")
        is_free = last.attempt_status in NEVER_SENT or (last.status in self.not_served and len(history) < self.attempts)
        if not is_free and not budget.spend(now):
            return GiveUp("is not retried, because the retry budget is used up")
        return Retry(after_s)

    def _stop_reason(self, history: Sequence[AttemptResult], options: Options) -> str:
        """Return the reason why the call must not be retried on any instance; an empty string if there is none."""
        last = history[-1].outcome
        if not self._is_retried(last):
            return "is not retried"
        if not options.is_idempotent and last.attempt_status not in NEVER_SENT:
            return "may have reached the instance, and the call is not idempotent"
        if last.attempt_status in _FREE and options.another and not options.sole:
            return ""
        spent = self.spent(history, is_sole=options.sole)
        return f"was the last of {len(history)} attempts" if spent >= self.attempts else ""

    def spent(self, history: Sequence[AttemptResult], *, is_sole: bool = False) -> float:
        """Return how many of `attempts` a call has used up.

        Args:
            history: The attempts of the call.
            is_sole: Whether the list has exactly one instance; if so, attempts that never reached this instance count,
                too.
        """
        # The first stale connection does not count as an attempt. Later ones count, because a queued call that needs a
        # new connection may get a connection that was idle, and that connection may be stale, too.
        stale = sum(attempt.outcome.attempt_status in NOT_ITS_FAULT for attempt in history)
        # Attempts that lack a local resource reach no instance; the pauses and the deadline bound their number.
        local = sum(attempt.outcome.attempt_status is AttemptStatus.LOCAL_RESOURCE for attempt in history)
        free = 0 if is_sole else sum(attempt.outcome.attempt_status in _FREE for attempt in history)
        spent: float = len(history) - min(stale, 1) - local - free
        if self.not_served and self.attempts > 1:  # attempts=1 allows a single attempt
            not_served = sum(attempt.outcome.status in self.not_served for attempt in history)
            spent -= not_served * (1.0 - _NOT_SERVED_COST)
        return spent

    def _is_retried(self, outcome: Outcome) -> bool:
        if outcome.status == RATE_LIMITED and outcome.retry_after_s is not None:
            return True
        return (
            outcome.status if outcome.attempt_status is AttemptStatus.STATUS else outcome.attempt_status
        ) in self.retry_on

    def _after_s(self, history: Sequence[AttemptResult], rng: Random, *, is_same: bool) -> float:
        """Return the pause before a retry in seconds; `is_same` means that only the failed instance is left."""
        last = history[-1].outcome
        # The Retry-After of a rate limit applies to every instance of the service, that of a 503 to one instance.
        holds = is_same or last.status == RATE_LIMITED
        asked = (last.retry_after_s or 0.0) if holds else 0.0
        first_failover = not is_same and len(history) == 1 and last.status != RATE_LIMITED
        is_local = last.attempt_status is AttemptStatus.LOCAL_RESOURCE
        is_free = not is_same and last.attempt_status in _FREE
        # The queue cannot change in this turn of the reactor, and only a pause bounds the number of such attempts.
        is_full_again = is_same and self.attempts == _NO_BOUND and last.attempt_status is AttemptStatus.OVERLOADED
        is_at_once = last.attempt_status in _AT_ONCE and not is_full_again
        if is_free or is_at_once or (first_failover and not is_local):
            return 0.0
        ceiling = min(self.backoff_max_s, self.backoff_base_s * 2 ** min(len(history) - 1, _MAX_DOUBLINGS))
        if is_local or is_full_again:
            return max(_MIN_LOCAL_PAUSE_S, rng.uniform(ceiling / 2, ceiling))
        return max(asked, rng.uniform(0.0, ceiling))
