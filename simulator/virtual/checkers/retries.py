"""What is checked about retries: which outcomes are retried, when, and within which budget.

Written from the reference page about failover alone, and heard in a client's events. All names of outcomes are those of
the client's `AttemptStatus`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

from attrs import define, field

from simulator.virtual.checker import Checker
from simulator.virtual.faults.catalog import STALE, STATUS
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

_SLACK_S = 1e-5
"""Two floats of a clock that counts from 1970 say no more."""
_RATE_LIMITED = 429
_AT_ONCE = frozenset({STALE, "unsent", "overloaded"})
NEVER_SENT = frozenset(
    {
        "connect_refused", "connect_timeout", "connect_failed", "local_resource", "unsent", "retired", "waited",
        "overloaded",
    }
)  # fmt: skip
"""Outcomes of attempts that no instance had. A retry after one of these is not counted against the budget."""
LOCAL = "local_resource"
"""What the client's own host lacks: it costs no attempt, and is tried again after a pause."""
_WINDOW_S = 10.0
_SURE_S = 9.0
"""The budget counts in whole seconds: what is up to nine seconds old it must count, what is up to ten it may."""
_KEPT_S = 60.0
_LOCAL_PAUSE_S = 0.25
_KEPT_EJECTIONS = 200


class EndedAttempt(NamedTuple):
    """An attempt of a call that has ended, in virtual seconds.

    Attributes:
        address: Of its instance.
        attempt_status: How it ended.
        status: The response's status; 0 without one.
        retry_after_s: What the response asked for; `None` when it did not.
        began_s: When it was sent on its way.
        ended_s: When it ended.
        is_retry: Whether an attempt that had ended before made it necessary.
        is_hedge: Whether it was sent beside another one.
    """

    address: Address
    attempt_status: str
    status: int
    retry_after_s: float | None
    began_s: float
    ended_s: float
    is_retry: bool
    is_hedge: bool

    def __str__(self) -> str:
        return f"{spelled(self.address)} {self.attempt_status}{f' {self.status}' if self.status else ''}"


@define(eq=False, slots=False)
class RetryChecker(Checker):
    """Checks `retried-outcomes`, `retry-pause`, `attempt-timeout` and `retry-budget`."""

    _calls: defaultdict[object, list[float]] = field(init=False, factory=lambda: defaultdict(list))
    _spent: defaultdict[object, list[float]] = field(init=False, factory=lambda: defaultdict(list))
    _ejections: defaultdict[object, deque[float]] = field(
        init=False, factory=lambda: defaultdict(lambda: deque(maxlen=_KEPT_EJECTIONS))
    )

    def call_began(self, sut: ClientUnderTest) -> None:
        """Count a call, which earns a share of a retry."""
        calls = self._calls[sut.budget]
        calls.append(self._seconds())
        if calls[0] < calls[-1] - 2 * _KEPT_S:
            del calls[: bisect_left(calls, calls[-1] - _KEPT_S)]

    def ejected(self, sut: ClientUnderTest) -> None:
        """A client leaves an instance out: beside the probe of a silent one a call may be hedged whatever is left."""
        self._ejections[sut.budget].append(self._seconds())

    def is_budget_short(self, sut: ClientUnderTest, retries: int) -> bool:
        """Whether a client may have refused a retry for want of budget.

        Args:
            sut: The client.
            retries: How many retries and hedges it took out of its budget in the last ten seconds, or a few more.
        """
        calls, now_s = self._calls[sut.budget], self._seconds()
        earned = sut.budget_ratio * (len(calls) - bisect_left(calls, now_s - _SURE_S))
        return retries >= sut.budget_floor + earned - 1

    def check(self, sut: ClientUnderTest, attempts: Sequence[EndedAttempt]) -> None:
        """Look at the attempts of a call that has ended, of which there were several, in the order of their ends."""
        for at, attempt in enumerate(attempts):
            before = [other for other in attempts[:at] if other.ended_s <= attempt.began_s + _SLACK_S]
            if not attempt.is_retry or attempt.is_hedge or not before:
                if attempt.is_hedge and not attempt.is_retry:
                    self._spend(sut, attempt.began_s)
                continue
            last = before[-1]
            self._check_outcome(sut, last)
            self._check_pause(sut, attempt, last, len(before))
            if last.attempt_status not in NEVER_SENT:
                self._spend(sut, last.ended_s)

    def check_length(self, sut: ClientUnderTest, attempt: EndedAttempt) -> None:
        """An attempt must not take longer than `attempt_timeout_s`."""
        took_s, limit_s = attempt.ended_s - attempt.began_s, sut.attempt_timeout_s
        if limit_s is not None and took_s > limit_s + _SLACK_S + sut.tick_s:
            says = f"had an attempt at {spelled(attempt.address)} for {took_s:.3f} s, of at most {limit_s:g}"
            self._report("attempt-timeout", f"client {sut.number} {says}")

    # -- how it checks

    def _check_outcome(self, sut: ClientUnderTest, last: EndedAttempt) -> None:
        label = last.status if last.attempt_status == STATUS else last.attempt_status
        is_rate_limit = last.status == _RATE_LIMITED and last.retry_after_s is not None
        if label not in sut.retry_on and not is_rate_limit:
            self._report("retried-outcomes", f"client {sut.number} tried again after {last}, which is final")

    def _check_pause(self, sut: ClientUnderTest, attempt: EndedAttempt, last: EndedAttempt, number: int) -> None:
        is_elsewhere = attempt.address != last.address
        is_rate_limit = last.status == _RATE_LIMITED
        asked_s = (last.retry_after_s or 0.0) if is_rate_limit or not is_elsewhere else 0.0
        longest_s = min(sut.backoff_max_s, sut.backoff_base_s * 2.0 ** (number - 1))
        if last.attempt_status == LOCAL:
            # Never at once: what is lacking is not there a moment later.
            longest_s = max(longest_s, _LOCAL_PAUSE_S)
        elif last.attempt_status in _AT_ONCE or (
            is_elsewhere
            and (last.attempt_status in NEVER_SENT or (number == 1 and not is_rate_limit))
            and not self._has_changed(sut, last.ended_s)
        ):
            longest_s = 0.0
        if is_elsewhere and self._has_changed(sut, last.ended_s):
            # It was to wait for the only instance of its list, and another joined meanwhile.
            longest_s = max(longest_s, last.retry_after_s or 0.0)
        pause_s = attempt.began_s - last.ended_s
        if not asked_s - _SLACK_S <= pause_s <= max(asked_s, longest_s) + _SLACK_S + sut.tick_s:
            says = (
                f"tried again {pause_s:.4f} s after {last}; the pause is {asked_s:g} to {max(asked_s, longest_s):g} s"
            )
            self._report("retry-pause", f"client {sut.number} {says}")

    @staticmethod
    def _has_changed(sut: ClientUnderTest, since_s: float) -> bool:
        """Whether the list has: a retry on its only instance, after a pause, may find another one there."""
        sut.look()
        return sut.changed_at_s >= since_s

    def _spend(self, sut: ClientUnderTest, at_s: float) -> None:
        """A retry was taken out of the budget; what is heard late may complete windows that were looked at before."""
        spent, calls = self._spent[sut.budget], self._calls[sut.budget]
        insort(spent, at_s)
        if spent[0] < at_s - 2 * _KEPT_S:
            del spent[: bisect_left(spent, at_s - _KEPT_S)]
        for end in range(bisect_left(spent, at_s), bisect_right(spent, at_s + _SURE_S)):
            end_s = spent[end]
            used = end + 1 - bisect_right(spent, end_s - _SURE_S + _SLACK_S)
            if used <= sut.budget_floor:
                continue
            began = bisect_right(calls, end_s + _SLACK_S) - bisect_left(calls, end_s - _WINDOW_S - _SLACK_S)
            probes = sum(at_s >= end_s - _WINDOW_S for at_s in self._ejections[sut.budget])
            most = sut.budget_floor + sut.budget_ratio * began + probes
            if used > most + _SLACK_S and not self._attribution.disturbs_client(
                sut.number, end_s - _WINDOW_S, self._seconds()
            ):
                says = f"spent {used} retries in {_SURE_S:g} s and began {began} calls in {_WINDOW_S:g} s"
                self._report("retry-budget", f"client {sut.number} {says}: at most {most:g}")
                return
