"""What is checked about the attempts of a call side by side: hedges.

Heard in the events of a client, when there is a listener. A hedge goes to another instance than the attempt beside
which it runs, counts as an attempt, costs the retry budget, and of all attempts one is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from simulator.virtual.checker import Checker
from simulator.virtual.phrases import spelled
from simulator.virtual.retries import NEVER_SENT, EndedAttempt

if TYPE_CHECKING:
    from simulator.virtual.retries import RetryChecker
    from simulator.virtual.subject import Subject

_SLACK_S = 1e-5
"""Two floats of a clock that counts from 1970 say no more."""
_SIDE_BY_SIDE = 2
_NO_FAILURE = frozenset({"stale", "unsent"})
_UNCOUNTED = _NO_FAILURE | NEVER_SENT | {"late", "cancelled", "deadline"}
"""Nor is what was silent to the end counted against the limit of attempts."""
_OVERDUE = "attempt_timeout"
"""How an attempt ends at its own limit. Where the call went on beside it, it had been silent, and was not counted."""
_LEAST_SILENCE_S = 0.025


@define(eq=False, slots=False)
class LegChecker(Checker):
    """Checks (l), and collects what `RetryChecker` looks at.

    Attributes:
        _retries: Looks at the retries of a call that has ended.
    """

    _retries: RetryChecker
    _legs: dict[object, list[EndedAttempt]] = field(init=False, factory=dict)
    _ended: object = field(init=False, default=None)

    def attempt_ended(self, event: Any) -> None:
        """A client tells how an attempt ended."""
        if event.call is self._ended:
            self._report("l", f"an attempt at {spelled(event.instance.key)} was told after its call had ended")
            return
        now_s, outcome = self._seconds(), event.outcome
        leg = EndedAttempt(
            event.instance.key,
            str(outcome.condition),
            outcome.status,
            outcome.retry_after_s,
            now_s - event.elapsed_s,
            now_s,
            event.retry_of is not None,
            event.is_hedge,
        )
        self._legs.setdefault(event.call, []).append(leg)

    def call_ended(self, subject: Subject, event: Any) -> None:
        """A client tells how a call ended."""
        legs = self._legs.pop(event.call, [])
        self._ended = event.call
        if legs:
            self._check(subject, legs, self._seconds() - event.elapsed_s, error=event.error)

    def check_over(self, subject: Subject) -> None:
        """Every call has ended, and so has every attempt that was told."""
        if self._legs:
            self._report("l", f"client {subject.number} has told attempts of {len(self._legs)} calls that never ended")
            self._legs.clear()

    # -- how it checks

    def _check(self, subject: Subject, legs: list[EndedAttempt], began_s: float, *, error: str) -> None:
        free = _UNCOUNTED if subject.attempts > 1 else _NO_FAILURE | NEVER_SENT
        spent = sum(leg.condition not in free and not _was_overdue(leg, legs) for leg in legs)
        if spent > subject.attempts:
            self._report("l", f"client {subject.number}: a call took {spent} attempts, of at most {subject.attempts}")
        answers = sum(leg.condition == "answered" for leg in legs)
        if answers > 1 or (not error and not answers):
            self._report("l", f"client {subject.number}: a call had {answers} answers")
        limit_s = subject.attempt_timeout_s
        is_long = limit_s is not None and any(leg.ended_s - leg.began_s > limit_s for leg in legs)
        if (len(legs) < _SIDE_BY_SIDE and not is_long) or self._is_disturbed(subject, legs):
            return
        if is_long:
            for leg in legs:
                self._retries.check_length(subject, leg)
        if len(legs) < _SIDE_BY_SIDE:
            return
        self._retries.check(subject, legs)
        for leg in legs:
            beside = [other for other in legs if other is not leg and _runs_beside(leg, other)]
            if beside:
                self._check_hedge(subject, leg, beside, began_s)

    def _check_hedge(self, subject: Subject, leg: EndedAttempt, beside: list[EndedAttempt], began_s: float) -> None:
        """A leg began while others ran: after a delay beside one, or after silence; and somewhere else."""
        is_quick = leg.began_s < max(other.began_s for other in beside) + _LEAST_SILENCE_S - _SLACK_S
        others = ", ".join(spelled(other.address) for other in beside)
        what = f"a call of {leg.began_s - began_s:.3f} s at {spelled(leg.address)}, beside {others}"
        if subject.hedge_after_s is None:
            self._report("l", f"client {subject.number} hedged {what}, and was not told to")
        elif is_quick and subject.hedge_after_s == "late":
            says = f"which has not been silent for {_LEAST_SILENCE_S:g} s"
            self._report("l", f"client {subject.number} hedged {what}, {says}")
        elif is_quick and len(beside) > 1:
            self._report("l", f"client {subject.number} had {len(beside) + 1} attempts side by side: {what}")
        if any(other.address == leg.address for other in beside):
            self._report("l", f"client {subject.number}: a call was twice at {spelled(leg.address)} at the same time")

    def _is_disturbed(self, subject: Subject, legs: list[EndedAttempt]) -> bool:
        began_s = min(leg.began_s for leg in legs)
        return self._explanations.disturbs_client(subject.number, began_s, self._seconds())


def _was_overdue(leg: EndedAttempt, legs: list[EndedAttempt]) -> bool:
    """Whether it was silent until its own limit, and the call had gone on beside it."""
    return leg.condition == _OVERDUE and any(_runs_beside(other, leg) for other in legs if other is not leg)


def _runs_beside(leg: EndedAttempt, other: EndedAttempt) -> bool:
    """Whether the other one was running when this one began."""
    return other.began_s < leg.began_s - _SLACK_S and other.ended_s > leg.began_s + _SLACK_S
