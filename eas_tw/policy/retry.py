"""Whether a call that failed on one instance is tried again, where, and after how long.

The only owner of retries: everything below reports an outcome and stops. The decision is a function of the call's
recorded history, so more rules can join (issue by issue) without a new path through the client.

- Which outcomes: the table of the wire contract (§3), as `retry_on`. A 429 that names its `Retry-After` is tried again
  after that, never at once.
- Where: an instance this call has not tried. With more than one instance in the list never one that has failed in this
  call (the vendor's third rule); the only instance of a list may be tried again. A stale pooled connection is not a
  failure of its instance, which may therefore have another turn when no untried one is left.
- After how long: the first failover at once, later ones and every retry on the same instance after full jitter. What
  this machine lacks it lacks for every instance, so after `local_resource` there is always a pause.
- How many: `attempts` a call, a stale connection aside, and a retry budget over all calls (Finagle's: a share of the
  calls plus a floor). Attempts that never reached an instance use up neither while there is another instance to try (as
  gRPC's transparent retries): they cost the fleet nothing, and the number of instances bounds them. Neither are those
  counted that a call has given up waiting for because the instance is silent; the budget bounds these.

Behind a gateway there are instances that this client cannot see. A gateway's 502 says that the one it chose did not
answer; it draws again for each attempt, blindly, and may well draw the dead one again. So a 502 costs a quarter of an
attempt there: three attempts become twelve, and with a third of the instances dead that fails two calls in a million
instead of one in 27. The first `attempts` of a call are as free of the budget as refused connections are, since that is
what a 502 usually stands for; whatever goes beyond is paid for, so that a service that is down altogether gets a
bounded number of requests.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

from attrs import frozen

from eas_tw.policy.outcomes import NEVER_SENT, NOT_ITS_FAULT, AttemptStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from eas_tw.policy.outcomes import AttemptResult, Outcome

RATE_LIMITED = 429
QUEUE_FULL = 450
BAD_GATEWAY = 502
UNAVAILABLE = 503
GATEWAY_TIMEOUT = 504


class _Default(frozenset[AttemptStatus | int]):
    """The default of `retry_on`: what a program gives itself is another set, even if it has the same members."""

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
"""An attempt timeout is here because it exists only when the caller set one, and means: try elsewhere while there is
time. A violation is not: it says that the wrong server listens there, and what it did with the request is unknown."""


GATEWAY_RETRY_ON = DEFAULT_RETRY_ON | {BAD_GATEWAY, GATEWAY_TIMEOUT}
"""The default through a gateway, whose 502 or 504 speaks of an instance behind it. From an instance they are its own
words about something behind *it*, and are not retried."""

_NOT_SERVED_COST = 0.25
_AT_ONCE = NOT_ITS_FAULT | {AttemptStatus.OVERLOADED}
"""What no pause would make better: the instance has not been asked."""
_FREE = NEVER_SENT - NOT_ITS_FAULT - {AttemptStatus.LOCAL_RESOURCE}
"""What costs no attempt while there is another instance: it has not been asked, and this call will not go there again.
(After `unsent` it may, so that would have no bound.)"""


_MIN_LOCAL_PAUSE_S = 0.01
"""These attempts are not counted, so something else must keep them from following each other without end."""
_MAX_DOUBLINGS = 16


class Where(Enum):
    """Where a retry goes."""

    ANOTHER = auto()
    SAME = auto()


@frozen
class Retry:
    """Try again: where, and after how many seconds."""

    where: Where
    after_s: float = 0.0


@frozen
class GiveUp:
    """The call has failed; `why` ends the error's sentence."""

    why: str


@frozen
class Options:
    """What is left to choose from when the decision falls.

    Attributes:
        another: Whether an instance exists that has not failed in this call. One whose pooled connection was only
            stale has not failed, but comes after those not tried at all.
        sole: Whether the list has one instance only.
        remaining_s: Seconds until the call's deadline.
        is_idempotent: Whether the instance may get the call twice; otherwise only what provably never reached it is
            tried again.
    """

    another: bool
    sole: bool
    remaining_s: float
    is_idempotent: bool = True


class RetryBudget:
    """Retries may be a share of the last 10 s' calls, plus a floor: it stops retry storms, not single failovers."""

    WINDOW_S = 10

    def __init__(self, ratio: float, min_per_s: float) -> None:
        self._ratio = ratio
        self._floor = min_per_s * self.WINDOW_S
        self._seconds: deque[list[float]] = deque()  # [second, calls, retries]
        self._current = [-1.0, 0.0, 0.0]

    def record_call(self, now: float) -> None:
        """Count a call; each earns `ratio` of a retry."""
        current = self._current
        if now - current[0] >= 1.0:
            current = self._turn_to(now)
        current[1] += 1.0

    def spend(self, now: float, share: float = 1.0) -> bool:
        """Take one retry out of the budget.

        Args:
            now: Seconds of the caller's clock.
            share: The part of the budget that this kind of retry may use up, 0-1.

        Returns:
            Whether there was one left.
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
    """The table and its numbers; units and defaults are those of `ClientConfig`.

    Attributes:
        not_served: Statuses by which a gateway says that the instance it chose did not answer; empty without one.
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
        """The policy of calls through a gateway; with its own default of `retry_on`."""
        if retry_on is DEFAULT_RETRY_ON:
            retry_on = GATEWAY_RETRY_ON
        return cls(attempts, retry_on, backoff_base_s, backoff_max_s, frozenset({BAD_GATEWAY}))

    def decide(
        self, history: Sequence[AttemptResult], options: Options, *, budget: RetryBudget, now: float, rng: Random
    ) -> Retry | GiveUp:
        """What follows the last attempt of `history`."""
        last = history[-1].outcome
        stop_reason = self._stop_reason(history, options)
        if stop_reason:
            return GiveUp(stop_reason)
        where = self._where(options)
        if where is None:
            return GiveUp("left no instance that has not failed in this call")
        after_s = self._after_s(where, history, rng)
        if after_s >= options.remaining_s:
            return GiveUp("left no time before the deadline")
        is_free = last.attempt_status in NEVER_SENT or (last.status in self.not_served and len(history) < self.attempts)
        if not is_free and not budget.spend(now):
            return GiveUp("found the retry budget used up")
        return Retry(where, after_s)

    def _stop_reason(self, history: Sequence[AttemptResult], options: Options) -> str:
        """Why the call may not go on, wherever to; empty when it may."""
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
        """How many of `attempts` a call has used up; on the only instance of a list every try of it counts."""
        # The first stale connection costs none. A call that waits in line for a new one may be served by a kept one
        # that came free, and meet another: those count, so that attempts have a bound whatever happens.
        stale = sum(attempt.outcome.attempt_status in NOT_ITS_FAULT for attempt in history)
        # What was lacking here has reached no instance; its pauses and the deadline are the bound.
        local = sum(attempt.outcome.attempt_status is AttemptStatus.LOCAL_RESOURCE for attempt in history)
        free = 0 if is_sole else sum(attempt.outcome.attempt_status in _FREE for attempt in history)
        spent: float = len(history) - min(stale, 1) - local - free
        if self.not_served and self.attempts > 1:  # who asked for one attempt gets one
            not_served = sum(attempt.outcome.status in self.not_served for attempt in history)
            spent -= not_served * (1.0 - _NOT_SERVED_COST)
        return spent

    def _is_retried(self, outcome: Outcome) -> bool:
        if outcome.status == RATE_LIMITED and outcome.retry_after_s is not None:
            return True
        return (
            outcome.status if outcome.attempt_status is AttemptStatus.STATUS else outcome.attempt_status
        ) in self.retry_on

    @staticmethod
    def _where(options: Options) -> Where | None:
        if options.another:
            return Where.ANOTHER
        return Where.SAME if options.sole else None

    def _after_s(self, where: Where, history: Sequence[AttemptResult], rng: Random) -> float:
        last = history[-1].outcome
        # A rate limit is the service's, so it holds elsewhere too; a 503 speaks for one instance.
        holds = where is Where.SAME or last.status == RATE_LIMITED
        asked = (last.retry_after_s or 0.0) if holds else 0.0
        first_failover = where is Where.ANOTHER and len(history) == 1 and last.status != RATE_LIMITED
        is_local = last.attempt_status is AttemptStatus.LOCAL_RESOURCE
        is_free = where is Where.ANOTHER and last.attempt_status in _FREE
        if is_free or last.attempt_status in _AT_ONCE or (first_failover and not is_local):
            return 0.0
        ceiling = min(self.backoff_max_s, self.backoff_base_s * 2 ** min(len(history) - 1, _MAX_DOUBLINGS))
        if is_local:
            return max(_MIN_LOCAL_PAUSE_S, rng.uniform(ceiling / 2, ceiling))
        return max(asked, rng.uniform(0.0, ceiling))
