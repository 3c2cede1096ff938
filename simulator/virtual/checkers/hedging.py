"""Checks of hedges, which are concurrent attempts of a call.

The checker observes the events of clients that have a listener. A hedge uses another instance than the attempt that is
running, counts as an attempt, and is charged to the retry budget. The call uses one response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.checkers.retries import NEVER_SENT, EndedAttempt
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from simulator.virtual.checkers.retries import RetryChecker
    from simulator.virtual.checkers.streams import StreamChecker
    from simulator.virtual.client_under_test import ClientUnderTest

_SLACK_S = 1e-5
"""Tolerance in seconds: floats that count seconds from 1970 have a resolution of about 2e-7 s."""
_SIDE_BY_SIDE = 2
_NO_FAILURE = frozenset({"stale", "unsent"})
_UNCOUNTED = _NO_FAILURE | NEVER_SENT | {"late", "cancelled", "deadline"}
"""Statuses of attempts that do not count against the limit, including attempts that received nothing."""
_SILENT_ENDS = frozenset({"attempt_timeout", "lost", "answered"})
"""Statuses of attempts that may have received no byte for a long time.

If the call was hedged during such an attempt, the client had detected the silence, and does not count the attempt.
"""
_LEAST_SILENCE_S = 0.025


@define(eq=False, slots=False)
class HedgingChecker(Checker):
    """Checks `hedge-rules`, and collects the attempts that `RetryChecker` checks.

    Attributes:
        _retries: Checks the retries of a call that has ended.
        _streams: Checks the hedges of calls whose responses arrive in pieces.
    """

    _retries: RetryChecker
    _streams: StreamChecker
    _attempts: dict[object, list[EndedAttempt]] = field(init=False, factory=dict)
    _ended: object = field(init=False, default=None)

    def attempt_ended(self, event: Any) -> None:
        """Handle the event that an attempt has ended."""
        if event.call is self._ended:
            self._report(
                "hedge-rules", f"an attempt at {spelled(event.instance.key)} was told after its call had ended"
            )
            return
        now_s, outcome = self._seconds(), event.outcome
        attempt = EndedAttempt(
            event.instance.key,
            str(outcome.attempt_status),
            outcome.status,
            outcome.retry_after_s,
            now_s - event.elapsed_s,
            now_s,
            event.retry_of is not None,
            event.is_hedge,
        )
        self._attempts.setdefault(event.call, []).append(attempt)

    def call_ended(self, sut: ClientUnderTest, event: Any) -> None:
        """Handle the event that a call has ended."""
        attempts = self._attempts.pop(event.call, [])
        self._ended = event.call
        if attempts:
            self._check(sut, attempts, self._seconds() - event.elapsed_s, event.call, error=event.error)

    def check_over(self, sut: ClientUnderTest) -> None:
        """Check that every observed attempt belongs to a call that has ended."""
        if self._attempts:
            self._report(
                "hedge-rules", f"client {sut.number} has told attempts of {len(self._attempts)} calls that never ended"
            )
            self._attempts.clear()

    # -- internals

    def _check(
        self, sut: ClientUnderTest, attempts: list[EndedAttempt], began_s: float, call: Any, *, error: str
    ) -> None:
        free = _UNCOUNTED if sut.attempts > 1 else _NO_FAILURE | NEVER_SENT
        spent = sum(attempt.attempt_status not in free and not _was_overdue(attempt, attempts) for attempt in attempts)
        if spent > sut.attempts:
            self._report("hedge-rules", f"client {sut.number}: a call took {spent} attempts, of at most {sut.attempts}")
        answers = sum(attempt.attempt_status == "answered" for attempt in attempts)
        # Some calls accept a response of any status.
        is_bad = not error and not answers and not self._streams.takes_any_status(call)
        if answers > 1 or is_bad:
            self._report("hedge-rules", f"client {sut.number}: a call had {answers} answers")
        limit_s = sut.attempt_timeout_s
        is_long = limit_s is not None and any(attempt.ended_s - attempt.began_s > limit_s for attempt in attempts)
        if (len(attempts) < _SIDE_BY_SIDE and not is_long) or self._is_disturbed(sut, attempts):
            return
        if is_long:
            for attempt in attempts:
                self._retries.check_length(sut, attempt)
        if len(attempts) < _SIDE_BY_SIDE:
            return
        self._retries.check(sut, attempts)
        for attempt in attempts:
            beside = [other for other in attempts if other is not attempt and _runs_beside(attempt, other)]
            if beside:
                self._check_hedge(sut, attempt, beside, began_s, is_retry=_follows_an_end(attempt, attempts))
                for other in beside:
                    self._streams.ran_beside(sut, call, attempt, other)

    def _check_hedge(
        self,
        sut: ClientUnderTest,
        attempt: EndedAttempt,
        beside: list[EndedAttempt],
        began_s: float,
        *,
        is_retry: bool,
    ) -> None:
        """Check that the client may hedge, that the hedge was not sent too early, and that it used another instance.

        A retry of one of several concurrent attempts may be sent immediately.
        """
        is_quick = attempt.began_s < max(other.began_s for other in beside) + _LEAST_SILENCE_S - _SLACK_S
        others = ", ".join(spelled(other.address) for other in beside)
        what = f"a call of {attempt.began_s - began_s:.3f} s at {spelled(attempt.address)}, beside {others}"
        if sut.hedge_after_s is None:
            self._report("hedge-rules", f"client {sut.number} hedged {what}, and was not told to")
        elif is_quick and sut.hedge_after_s == "late":
            says = f"which has not been silent for {_LEAST_SILENCE_S:g} s"
            self._report("hedge-rules", f"client {sut.number} hedged {what}, {says}")
        elif is_quick and len(beside) > 1 and not is_retry:
            self._report("hedge-rules", f"client {sut.number} had {len(beside) + 1} attempts side by side: {what}")
        if any(other.address == attempt.address for other in beside):
            self._report(
                "hedge-rules", f"client {sut.number}: a call was twice at {spelled(attempt.address)} at the same time"
            )

    def _is_disturbed(self, sut: ClientUnderTest, attempts: list[EndedAttempt]) -> bool:
        began_s = min(attempt.began_s for attempt in attempts)
        return self._attribution.disturbs_client(sut.number, began_s, self._seconds())


def _was_overdue(attempt: EndedAttempt, attempts: list[EndedAttempt]) -> bool:
    """Whether an attempt may have received nothing, and its call was hedged before the attempt ended."""
    if attempt.attempt_status not in _SILENT_ENDS:
        return False
    least_s = attempt.began_s + _LEAST_SILENCE_S - _SLACK_S
    return any(least_s <= other.began_s < attempt.ended_s for other in attempts if other is not attempt)


def _follows_an_end(attempt: EndedAttempt, attempts: list[EndedAttempt]) -> bool:
    """Whether another attempt of the call ended when this one began."""
    return any(abs(other.ended_s - attempt.began_s) <= _SLACK_S for other in attempts if other is not attempt)


def _runs_beside(attempt: EndedAttempt, other: EndedAttempt) -> bool:
    """Whether `other` was running when `attempt` began."""
    return other.began_s < attempt.began_s - _SLACK_S and other.ended_s > attempt.began_s + _SLACK_S
