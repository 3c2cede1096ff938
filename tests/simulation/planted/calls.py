"""Bugs of a call: its time, its attempts, its retries."""

from __future__ import annotations

from typing import Any

from eas_tw.net.call import Call
from eas_tw.policy.cluster import Cluster
from eas_tw.policy.outcomes import AttemptStatus
from eas_tw.policy.retry import RetryBudget, RetryPolicy
from eas_tw.policy.selection import Selection
from tests.simulation.planted.bugs import Patch, bug


@bug("call-ends-once")
def no_deadline(patch: Patch) -> None:
    patch(Call, "deadline_passed", lambda _: None)


@bug("call-ends-once hedge-rules", "minority", seeds=20)
def each_attempt_gets_the_whole_deadline(patch: Patch) -> None:
    again = Call._try

    def renew(self: Call, now: float, **given: Any) -> None:
        self._context.in_flight.clear(self, self._timeout_s)
        self._context.in_flight.set(self, now, self._timeout_s)
        self.deadline = now + self._timeout_s
        again(self, now, **given)

    patch(Call, "_try", renew)


@bug("call-ends-once hedge-rules")
def deadline_halved(patch: Patch) -> None:
    start = Call.start

    def hurry(self: Call, preparing: Any = None) -> Any:
        self._timeout_s /= 2
        return start(self, preparing)

    patch(Call, "start", hurry)


@bug("attempts-within-limit nothing-left cancelled-is-over", seeds=20)
def cancelled_call_continues(patch: Patch) -> None:
    def cancelled(self: Call, _: Any) -> None:
        self._context.in_flight.clear(self, self._timeout_s)

    patch(Call, "_cancelled", cancelled)


@bug("attempts-within-limit hedge-rules", "budget", 20)
def one_attempt_too_many(patch: Patch) -> None:
    decide = RetryPolicy.decide

    def generous(self: RetryPolicy, history: Any, *given: Any, **named: Any) -> Any:
        return decide(self, history[1:] or history, *given, **named)

    patch(RetryPolicy, "decide", generous)


@bug("attempts-within-limit one-probe")
def retried_on_the_same_instance(patch: Patch) -> None:
    choose = Cluster.choose

    def again(self: Cluster, selection: Selection, now: float) -> Any:
        tried = tuple(selection.tried)
        return self._known.get(tried[-1]) if tried else choose(self, selection, now)

    patch(Cluster, "choose", again)


@bug("failure-explained")
def refused_connect_not_retried(patch: Patch) -> None:
    is_retried = RetryPolicy._is_retried
    patch(
        RetryPolicy,
        "_is_retried",
        lambda self, last: last.attempt_status is not AttemptStatus.CONNECT_REFUSED and is_retried(self, last),
    )


@bug("failure-explained")
def stale_connection_not_retried(patch: Patch) -> None:
    is_retried = RetryPolicy._is_retried
    patch(
        RetryPolicy,
        "_is_retried",
        lambda self, last: last.attempt_status is not AttemptStatus.STALE and is_retried(self, last),
    )


@bug("failure-explained")
def budget_never_refilled(patch: Patch) -> None:
    def spend(self: RetryBudget, now: float, share: float = 1.0) -> bool:
        self._used = getattr(self, "_used", 0) + 1
        return self._used < 5

    patch(RetryBudget, "spend", spend)


@bug("failure-explained retry-pause", seeds=20)
def pause_longer_than_the_call(patch: Patch) -> None:
    patch(RetryPolicy, "_after_s", lambda self, history, rng, is_same: 1.0 if len(history) > 1 else 0.0)
