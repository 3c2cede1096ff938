"""Checks of retries: the outcomes that are retried, the pauses, and the retry budget.

The rules come from the reference page about failover, not from the client's code. The checker observes the client's
events. Outcomes have the names of the client's `AttemptStatus`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.faults.catalog import STALE, STATUS
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address

_SLACK_S = 1e-5
"""Tolerance in seconds: floats that count seconds from 1970 have a resolution of about 2e-7 s."""
_RATE_LIMITED = 429
_AT_ONCE = frozenset({STALE, "unsent", "overloaded"})
NEVER_SENT = frozenset(
    {
        "connect_refused", "connect_timeout", "connect_failed", "local_resource", "unsent", "retired", "waited",
        "overloaded",
    }
)  # fmt: skip
"""Statuses of attempts that reached no instance. A retry after such an attempt is not charged to the budget."""
LOCAL = "local_resource"
"""Status of an attempt that lacked local resources: it is not counted against the limit, and is retried later."""
_WINDOW_S = 10.0
_SURE_S = 9.0
"""Age in seconds up to which the budget must count a retry.

The budget counts in whole seconds, so it may or may not count a retry that is between nine and ten seconds old.
"""
_KEPT_S = 60.0
_LOCAL_PAUSE_S = 0.25
_KEPT_EJECTIONS = 200


class EndedAttempt(NamedTuple):
    """An attempt of a call that has ended; times are in virtual seconds.

    Attributes:
        address: Address of the instance.
        attempt_status: Status with which the attempt ended.
        status: HTTP status of the response; 0 for none.
        retry_after_s: Retry-After of the response, in seconds; `None` for none.
        began_s: Time at which it was sent.
        ended_s: Time at which it ended.
        is_retry: Whether it was sent because an earlier attempt had failed.
        is_hedge: Whether it was sent while another attempt ran.
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

    _probes: defaultdict[object, deque[float]] = field(
        init=False, factory=lambda: defaultdict(lambda: deque(maxlen=_KEPT_EJECTIONS))
    )

    def call_began(self, sut: ClientUnderTest) -> None:
        """Count a call, which adds a share of a retry to the budget."""
        calls = self._calls[sut.budget]
        calls.append(self._seconds())
        if calls[0] < calls[-1] - 2 * _KEPT_S:
            del calls[: bisect_left(calls, calls[-1] - _KEPT_S)]

    def ejected(self, sut: ClientUnderTest) -> None:
        """Handle an ejection; for each ejection one more retry is permitted, because of its probe."""
        self._ejections[sut.budget].append(self._seconds())

    def probed(self, sut: ClientUnderTest) -> None:
        """Handle a probe; the hedge of a probe may exceed the budget.

        Probes are counted separately from ejections, because some probes end without an ejection and without a return.
        """
        self._probes[sut.budget].append(self._seconds())

    def is_budget_short(self, sut: ClientUnderTest, retries: int) -> bool:
        """Whether the retry budget of a client may have been exhausted.

        Args:
            sut: The client.
            retries: Number of retries and hedges charged to the budget in the last ten seconds; it may be too large.
        """
        calls, now_s = self._calls[sut.budget], self._seconds()
        # After its clock was set ahead, the client may count earlier calls as older than ten seconds.
        since_s = max(now_s - _SURE_S, sut.reactor.wall_set_s)
        earned = sut.budget_ratio * (len(calls) - bisect_left(calls, since_s))
        return retries >= sut.budget_floor + earned - 1

    def check(self, sut: ClientUnderTest, attempts: Sequence[EndedAttempt]) -> None:
        """Check the attempts of a call that has ended, in the order of their ends."""
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
        """Check that an attempt took no longer than `attempt_timeout_s`."""
        took_s, limit_s = attempt.ended_s - attempt.began_s, sut.attempt_timeout_s
        if limit_s is not None and took_s > limit_s + _SLACK_S + sut.tick_s:
            says = f"had an attempt at {spelled(attempt.address)} for {took_s:.3f} s, of at most {limit_s:g}"
            self._report("attempt-timeout", f"client {sut.number} {says}")

    # -- internals

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
            # The pause may be longer than after other outcomes, because a lack of resources rarely ends immediately.
            longest_s = max(longest_s, _LOCAL_PAUSE_S)
        elif last.attempt_status in _AT_ONCE or (
            is_elsewhere
            and (last.attempt_status in NEVER_SENT or (number == 1 and not is_rate_limit))
            and not self._has_changed(sut, last.ended_s)
        ):
            longest_s = 0.0
        if is_elsewhere and self._has_changed(sut, last.ended_s):
            # The client waited for the only instance in the list, and another instance joined during the pause.
            longest_s = max(longest_s, last.retry_after_s or 0.0)
        pause_s = attempt.began_s - last.ended_s
        if not asked_s - _SLACK_S <= pause_s <= max(asked_s, longest_s) + _SLACK_S + sut.tick_s:
            says = (
                f"tried again {pause_s:.4f} s after {last}; the pause is {asked_s:g} to {max(asked_s, longest_s):g} s"
            )
            self._report("retry-pause", f"client {sut.number} {says}")

    @staticmethod
    def _has_changed(sut: ClientUnderTest, since_s: float) -> bool:
        """Whether the list has changed since `since_s`, so that a retry may use an instance that has joined."""
        sut.look()
        return sut.changed_at_s >= since_s

    def _spend(self, sut: ClientUnderTest, at_s: float) -> None:
        """Record a retry that was charged to the budget, and check the windows of time that contain it.

        Events can arrive late, so windows that end after `at_s` and were checked before are checked again.
        """
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
            probes = max(
                sum(at_s >= end_s - _WINDOW_S for at_s in times[sut.budget])
                for times in (self._ejections, self._probes)
            )
            most = sut.budget_floor + sut.budget_ratio * began + probes
            if used > most + _SLACK_S and not self._attribution.disturbs_client(
                sut.number, end_s - _WINDOW_S, self._seconds()
            ):
                says = f"spent {used} retries in {_SURE_S:g} s and began {began} calls in {_WINDOW_S:g} s"
                self._report("retry-budget", f"client {sut.number} {says}: at most {most:g}")
                return
