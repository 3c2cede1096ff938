"""What is checked about the attempts of a call side by side: hedges.

Heard in the events of a client, when there is a listener. A hedge goes to another instance than the attempt beside
which it runs, counts as an attempt, costs the retry budget, and of all attempts one is answered.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.virtual.phrases import spelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.virtual.explanations import Explanations
    from simulator.virtual.sockets import Address
    from simulator.virtual.subject import Subject

    Report = Callable[[str, str], None]

_SLACK_S = 1e-5
"""Two floats of a clock that counts from 1970 say no more."""
_WINDOW_S = 9.0
"""The budget's 10 s are whole seconds of its own, of which the first and the last are not whole."""
_EARNS_S = 11.0
_KEPT_S = 22.0
"""What was spent nine seconds ago was earned by the calls of the ten, or eleven, before."""
_SIDE_BY_SIDE = 2
_NO_FAILURE = frozenset({"stale", "unsent"})
_COSTS_NOTHING = frozenset(
    {"connect_refused", "connect_timeout", "connect_failed", "unsent", "retired", "waited", "overloaded"}
) | {"local_resource"}
"""A retry after one of these is not counted against the budget: nobody had the request."""
_UNCOUNTED = _NO_FAILURE | _COSTS_NOTHING | {"late", "cancelled", "deadline"}
"""Nor against the limit of attempts, and so is not what was silent to the end."""
_LEAST_SILENCE_S = 0.025


class _Leg(NamedTuple):
    address: Address
    condition: str
    began_s: float
    ended_s: float


class _Spent(NamedTuple):
    at_s: float
    calls: int
    retries: int
    ejections: int


class LegChecker:
    """Checks (l).

    Args:
        seconds: Virtual time.
        explanations: Of the faults at work.
        report: Takes a checker's name and what it found.
    """

    def __init__(self, seconds: Callable[[], float], explanations: Explanations, report: Report) -> None:
        self._seconds = seconds
        self._explanations = explanations
        self._report = report
        self._legs: dict[object, list[_Leg]] = {}
        self._spent: defaultdict[int, deque[_Spent]] = defaultdict(lambda: deque([_Spent(0.0, 0, 0, 0)]))

    def attempt_ended(self, event: Any) -> None:
        """A client tells how an attempt ended."""
        now_s = self._seconds()
        leg = _Leg(event.instance.key, str(event.outcome.condition), now_s - event.elapsed_s, now_s)
        self._legs.setdefault(event.call, []).append(leg)

    def call_ended(self, subject: Subject, event: Any) -> None:
        """A client tells how a call ended."""
        legs = self._legs.pop(event.call, [])
        if legs:
            self._check(subject, legs, self._seconds() - event.elapsed_s, error=event.error)

    def sample(self, subject: Subject, spent: int) -> None:
        """Look at what the budget was spent on, once a second; `spent` is the number of retries and hedges so far."""
        counters, kept = subject.client.counters, self._spent[subject.number]
        at_s, before = self._seconds(), kept[-1].retries
        if spent != before:
            spent -= sum(counters.retries[label] for label in _COSTS_NOTHING)
        kept.append(_Spent(at_s, counters.calls, spent, subject.ejections))
        while kept[0].at_s < at_s - _KEPT_S and len(kept) > 1:
            kept.popleft()
        if spent > before:
            self._check_budget(subject, kept)

    def check_over(self, subject: Subject) -> None:
        """Every call has ended, and so has every attempt that was told."""
        if self._legs:
            self._report("l", f"client {subject.number} has told attempts of {len(self._legs)} calls that never ended")
            self._legs.clear()

    # -- how it checks

    def _check_budget(self, subject: Subject, kept: deque[_Spent]) -> None:
        now = kept[-1]
        lately = [spent for spent in kept if spent.at_s >= now.at_s - _WINDOW_S]
        retries = now.retries - lately[0].retries
        if retries <= subject.budget_floor + 1:
            return
        most = subject.budget_floor + subject.budget_ratio * max(_earning(kept, spent) for spent in lately)
        # Beside the probe of a silent instance a call is hedged whatever is left.
        most += subject.ejections - lately[0].ejections
        if retries > most + 1 and not self._explanations.disturbs_client(subject.number, kept[0].at_s, now.at_s):
            self._report("l", f"client {subject.number} spent {retries} retries and hedges in 9 s, of at most {most:g}")

    def _check(self, subject: Subject, legs: list[_Leg], began_s: float, *, error: str) -> None:
        free = _UNCOUNTED if subject.attempts > 1 else _NO_FAILURE | _COSTS_NOTHING
        spent = sum(leg.condition not in free for leg in legs)
        if spent > subject.attempts:
            self._report("l", f"client {subject.number}: a call took {spent} attempts, of at most {subject.attempts}")
        answers = sum(leg.condition == "answered" for leg in legs)
        if answers > 1 or (not error and not answers):
            self._report("l", f"client {subject.number}: a call had {answers} answers")
        if len(legs) < _SIDE_BY_SIDE or self._is_disturbed(subject, legs):
            return
        for leg in legs:
            beside = [other for other in legs if other is not leg and _runs_beside(leg, other)]
            if beside:
                self._check_hedge(subject, leg, beside, began_s)

    def _check_hedge(self, subject: Subject, leg: _Leg, beside: list[_Leg], began_s: float) -> None:
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

    def _is_disturbed(self, subject: Subject, legs: list[_Leg]) -> bool:
        began_s = min(leg.began_s for leg in legs)
        return self._explanations.disturbs_client(subject.number, began_s, self._seconds())


def _earning(kept: deque[_Spent], now: _Spent) -> int:
    """Calls of the 10 s, or 12, before a moment."""
    before = [spent for spent in kept if spent.at_s <= now.at_s - _EARNS_S]
    return now.calls - (before[-1] if before else kept[0]).calls


def _runs_beside(leg: _Leg, other: _Leg) -> bool:
    """Whether the other one was running when this one began."""
    return other.began_s < leg.began_s - _SLACK_S and other.ended_s > leg.began_s + _SLACK_S
