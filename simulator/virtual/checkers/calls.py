"""Checks of every call.

A call ends once and before its deadline, with its own response, after a permitted number of attempts. It may fail only
if faults explain the result of each attempt, and if the retry policy does not require another attempt.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.checkers.retries import LOCAL, NEVER_SENT
from simulator.virtual.faults.catalog import STALE, STATUS, WRONG
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from simulator.virtual.checkers.retries import RetryChecker
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address, VirtualSocket

_SLACK_S = 0.002
_LEAST_SILENCE_S = 0.025
"""The shortest silence after which a client hedges a call, in seconds."""
_KEPT_CANCELLED = 200
_BUDGET_WINDOW_S = 11.0
_RATE_LIMITED = 429
_NO_FAILURE = (STALE, "unsent")
_NEVER_SENT_ANYWHERE = NEVER_SENT - {"unsent"}
_SILENT = frozenset({"late", "cancelled", "deadline"})
_MOST_RESORTS = 16
"""Number of attempts after which a call is no longer sent to ejected instances."""
_USUAL_SHARE = 0.125
"""Share of a call's time. A client sends a late hedge only if most responses take less than this share."""
_LAST_HEDGE_SHARE = 0.4
"""Share of a call's time. If the deadline ends an attempt that took longer, it was running at the last hedge point."""
_ENOUGH, _LATELY, _SELDOM = 64, 300, 8
_QUEUED = ("waited", "overloaded")
_OUT_OF_TIME, _SHORT_S = ("deadline", *_QUEUED), 0.25
KNOWN = frozenset(
    {"DeadlineExceeded", "ConnectionFailed", "StatusError", "ProtocolViolation", "Overloaded", "LocalResourceError"}
)
"""Errors with which a call may end because of a fault."""


@define(eq=False)
class ObservedCall:
    """A call in flight.

    Attributes:
        sut: The client.
        number: Number of the call, per client.
        name: Name of the call: the number of the client and the number of the call, as in `0.7`.
        body: Body of the request, which the response must repeat.
        began_s: Start of the call, in virtual seconds.
        timeout_s: Its deadline, in seconds from the start.
        arrivals: Address of each instance that the request has reached, and whether it came on a reused connection.
        near: The client's end of the connection of the last arrival; `None` before the first arrival, or if unknown.
        is_cancelled: Whether the program has cancelled the call.
        is_once: Whether the call is not idempotent, so that its request must not reach an instance twice.
        takes_s: Time that an instance takes to send the response, in seconds.
        raises: Exception that the program's own code raises during the call; `None` for none.
    """

    sut: ClientUnderTest
    number: int
    name: str
    body: str
    began_s: float
    timeout_s: float
    arrivals: list[tuple[Address, bool]] = field(factory=list)
    near: VirtualSocket | None = None
    is_cancelled: bool = False
    is_once: bool = False
    takes_s: float = 0.0
    raises: BaseException | None = None


class ObservedAttempt(NamedTuple):
    """An attempt of a failed call, as recorded in the call's error.

    Attributes:
        address: Address of the instance.
        attempt_status: Status with which the attempt ended (`AttemptStatus`).
        status: HTTP status of the response; 0 for none.
        asked_s: Retry-After of the response, in seconds; 0.0 for none.
        elapsed_s: Length of the attempt, in seconds.
    """

    address: Address
    attempt_status: str
    status: int
    asked_s: float
    elapsed_s: float

    @classmethod
    def of(cls, attempt: Any) -> ObservedAttempt:
        """Create an `ObservedAttempt` from an `AttemptResult` that is stored in an error of the client."""
        outcome = attempt.outcome
        return cls(
            attempt.instance.key,
            str(outcome.attempt_status),
            outcome.status,
            outcome.retry_after_s or 0.0,
            attempt.elapsed_s,
        )

    def __str__(self) -> str:
        return f"{spelled(self.address)} {self.attempt_status}{f' {self.status}' if self.status else ''}"


class _Slow:
    """Counts the slow calls among a client's recent calls."""

    def __init__(self) -> None:
        self._answers = 0
        self._slow: deque[int] = deque(maxlen=_SELDOM + 1)

    def answered(self, *, is_slow: bool) -> None:
        """Record whether an answered call was slow."""
        self._answers += 1
        if is_slow:
            self._slow.append(self._answers)

    @property
    def is_usually_fast(self) -> bool:
        """Whether at least 64 calls were answered, and at most 8 of the last 300 (or that share of fewer) were slow.

        The client computes its percentile over 256 calls, once in 32 calls, so the last 300 contain its window.
        """
        lately = sum(number > self._answers - _LATELY for number in self._slow)
        return self._answers >= _ENOUGH and lately <= _SELDOM * min(1.0, self._answers / _LATELY)


@define(eq=False, slots=False)
class CallChecker(Checker):
    """Checks the invariants of single calls.

    These are `call-ends-once`, `response-matches-request`, `attempts-within-limit`, `failure-explained`, `sent-once`,
    `late-hedge` and `cancelled-is-over`.

    Attributes:
        _budgets: Determines whether the retry budget may have been exhausted.
    """

    _budgets: RetryChecker
    _retries: defaultdict[int, deque[tuple[float, int]]] = field(
        init=False, factory=lambda: defaultdict(lambda: deque([(0.0, 0)]))
    )
    _slow: defaultdict[int, _Slow] = field(init=False, factory=lambda: defaultdict(_Slow))
    _cancelled: dict[str, float] = field(init=False, factory=dict)
    in_flight: dict[str, ObservedCall] = field(init=False, factory=dict)

    def begin(self, record: ObservedCall) -> None:
        """Handle the start of a call."""
        self.in_flight[record.name] = record

    def cancelled(self, record: ObservedCall) -> None:
        """Handle the cancellation of a call by the program; called before the program cancels the call's Deferred."""
        record.is_cancelled = True
        self._cancelled[record.name] = self._seconds()
        if len(self._cancelled) > _KEPT_CANCELLED:
            del self._cancelled[next(iter(self._cancelled))]

    def arrived(
        self, name: str, address: Address, sent_s: float, *, is_reused: bool, near: VirtualSocket | None = None
    ) -> None:
        """Handle the arrival of a call's complete request at an instance.

        Args:
            name: Name of the call.
            address: The instance.
            sent_s: Time at which the client sent the request, in virtual seconds.
            is_reused: Whether the connection was reused: it had carried a request, or had been idle.
            near: The client's end of the connection.
        """
        if sent_s > self._cancelled.get(name, sent_s):
            late_s = sent_s - self._cancelled[name]
            self._report(
                "cancelled-is-over", f"call {name} was cancelled, and sent to {spelled(address)} {late_s:.4f} s later"
            )
        record = self.in_flight.get(name)
        if record is None:
            return
        earlier = tuple(record.arrivals)
        record.arrivals.append((address, is_reused))
        record.near = near
        if not earlier:
            return
        where = spelled(address)
        if record.is_once:
            self._report(
                "sent-once", f"call {name} is not idempotent, and reached {spelled(earlier[-1][0])} and then {where}"
            )
        before = [kept for known, kept in earlier if known == address]
        # If the server closes a reused connection while the request is sent, the request may still have arrived. The
        # client sends it again, and the first attempt does not count. With hedges, this can happen to two
        # concurrent attempts.
        most_stale = 1 if record.sut.hedge_after_s is None else 2
        sut = record.sut
        limit = sut.attempts
        if sut.hedge_after_s is not None and limit > 1:
            # Attempts that were silent when the next attempt was sent are not counted; each instance gets at most one
            # such attempt.
            limit = max(limit, len(sut.view), len(sut.seen))
        limit += min(most_stale, sum(kept for _, kept in earlier))
        if len(record.arrivals) > limit:
            self._report(
                "attempts-within-limit",
                f"call {name} reached instances {len(record.arrivals)} times, of at most {limit}",
            )
        others = sut.steady_since(record.began_s) - {address}
        if not before or not others or before[0]:
            return
        # A call that could not connect to any other instance may return to this instance.
        if not self._attribution.disturbs_sockets(sut.number, record.began_s, self._seconds()):
            self._report(
                "attempts-within-limit", f"call {name} came to {where} again, where it had failed on a new connection"
            )

    def answered(self, record: ObservedCall, answer: str) -> None:
        """Handle the response of a call."""
        now_s = self._end(record)
        if record.is_cancelled:
            self._report("call-ends-once", f"call {record.name} was answered after it was cancelled")
        if record.raises is not None:
            self._report(
                "call-ends-once", f"call {record.name} was answered though its program raised {record.raises!r}"
            )
        self._note_latency(record, now_s)
        if answer != record.body:
            window = (record.began_s, now_s)
            explained = any(
                self._attribution.explain(address, WRONG, 0, record.sut.number, window)
                for address, _ in record.arrivals
            )
            if not record.arrivals:
                # An unsolicited response can arrive after the client has sent this request and before the request
                # arrives at the instance. In HTTP/1.1, it cannot be distinguished from the response to the request.
                explained = self._attribution.may_be_wrong(*window)
            if not explained:
                self._report(
                    "response-matches-request", f"call {record.name} got another answer than its own: {answer[:60]!r}"
                )

    def opened(self, record: ObservedCall) -> None:
        """Handle the success of a call whose response is checked by `StreamChecker`."""
        now_s = self._end(record)
        if record.is_cancelled:
            self._report("call-ends-once", f"call {record.name} was answered after it was cancelled")
        self._note_latency(record, now_s)

    def failed(self, record: ObservedCall, error: BaseException) -> str:
        """Handle the error of a call.

        Returns:
            A description of the outcome, in one line.
        """
        now_s = self._end(record)
        name = type(error).__name__
        attempts = [ObservedAttempt.of(attempt) for attempt in getattr(error, "attempts", ())]
        if record.is_cancelled:
            if name != "CancelledError":
                self._report("call-ends-once", f"call {record.name} was cancelled and ended as {name}")
        elif record.raises is not None and not attempts:
            # The program's own code has raised, so any error is accepted if the call ends once.
            pass
        elif name not in KNOWN:
            self._report("failure-explained", f"call {record.name} failed as {name}: {error}")
        else:
            self._check_attempts(record, attempts, now_s)
            self._check_once(record, attempts)
            self._check_giving_up(record, name, attempts, now_s)
        reached = ", ".join(spelled(address) for address, _ in record.arrivals)
        trail = ", ".join(map(str, attempts)) or f"it was at {reached or 'no instance yet'}"
        return f"{name} after {now_s - record.began_s:.3f} s: {trail}"

    def overdue(self) -> None:
        """Report calls that should have ended."""
        now_s = self._seconds()
        for record in list(self.in_flight.values()):
            if now_s > record.began_s + record.timeout_s + 1.0 and not self._is_disturbed(record, now_s):
                del self.in_flight[record.name]
                self._report(
                    "call-ends-once", f"call {record.name} has not ended {now_s - record.began_s:.1f} s after it began"
                )

    def sample(self, sut: ClientUnderTest, spent: int) -> None:
        """Record a client's use of its retry budget; `spent` is the number of its retries and hedges so far."""
        kept = self._retries[sut.number]
        now_s = self._seconds()
        kept.append((now_s, spent))
        while kept[0][0] < now_s - _BUDGET_WINDOW_S and len(kept) > 1:
            kept.popleft()

    # -- internals

    def _end(self, record: ObservedCall) -> float:
        now_s = self._seconds()
        if self.in_flight.pop(record.name, None) is None:
            self._report("call-ends-once", f"call {record.name} ended more than once, or after it was overdue")
        late_s = now_s - record.began_s - record.timeout_s
        if late_s > _SLACK_S and not self._is_disturbed(record, now_s):
            self._report("call-ends-once", f"call {record.name} ended {late_s:.3f} s after its deadline")
        return now_s

    def _is_disturbed(self, record: ObservedCall, now_s: float) -> bool:
        return self._attribution.disturbs_client(record.sut.number, record.began_s, now_s)

    def _check_attempts(self, record: ObservedCall, attempts: list[ObservedAttempt], now_s: float) -> None:
        sut = record.sut
        spent = _spent(attempts, sut)
        if sut.hedge_after_s is not None:
            # An attempt is not counted if it was silent when the call was hedged. `HedgingChecker` checks the exact
            # number, because only its records contain the start of each attempt.
            spent -= sum(
                tried.attempt_status in {"attempt_timeout", "lost"} and tried.elapsed_s >= _LEAST_SILENCE_S - _SLACK_S
                for tried in attempts
            )
        if spent > sut.attempts:
            self._report(
                "attempts-within-limit", f"call {record.name} took {spent} attempts, of at most {sut.attempts}"
            )
        steady = sut.steady_since(record.began_s)
        seen: dict[Address, str] = {}
        for at, tried in enumerate(attempts):
            address, attempt_status = tried.address, tried.attempt_status
            if (
                address in seen
                and len(steady | {address}) > 1
                and seen[address] != LOCAL
                # After `_MOST_RESORTS` attempts a call avoids ejected instances, but may return to an instance that has
                # not failed.
                and (seen[address] not in (*_NO_FAILURE, "waited") or (steady - seen.keys() and at < _MOST_RESORTS))
            ):
                self._report(
                    "attempts-within-limit",
                    f"call {record.name} tried {spelled(address)} twice, the first time {seen[address]}",
                )
            seen[address] = attempt_status
            if at and attempt_status in _OUT_OF_TIME and tried.elapsed_s < _SHORT_S + 2 * record.takes_s:
                # If earlier attempts have used up the time, or many requests are queued before this one, the attempt
                # can end with these statuses although its instance has no fault.
                continue
            # Calls that began up to one timeout earlier may have filled the queue.
            since_s = record.began_s - (record.timeout_s if attempt_status == "overloaded" else 0.0)
            if record.takes_s and attempt_status == "cut":
                # If a fault truncates a body that is sent in pieces, the body is shorter than its Content-Length, and
                # the attempt ends as `cut`.
                attempt_status = self._cut_or_wrong(record, address, now_s)
            if not self._attribution.explain(address, attempt_status, tried.status, sut.number, (since_s, now_s)):
                self._report("failure-explained", f"call {record.name}: nothing explains {tried}")

    def _note_latency(self, record: ObservedCall, now_s: float) -> None:
        # The client also counts the late response of an attempt that was hedged.
        was_hedged = len(record.arrivals) > 1
        is_slow = was_hedged or now_s - record.began_s > record.timeout_s * _USUAL_SHARE
        self._slow[record.sut.number].answered(is_slow=is_slow)

    def _cut_or_wrong(self, record: ObservedCall, address: Address, now_s: float) -> str:
        window = (record.began_s, now_s)
        return WRONG if self._attribution.explain(address, WRONG, 0, record.sut.number, window) else "cut"

    def _check_once(self, record: ObservedCall, attempts: list[ObservedAttempt]) -> None:
        sent = [tried for tried in attempts[:-1] if tried.attempt_status not in NEVER_SENT]
        if record.is_once and sent:
            self._report("sent-once", f"call {record.name} is not idempotent, and went on after {sent[0]}")

    def _check_giving_up(self, record: ObservedCall, name: str, attempts: list[ObservedAttempt], now_s: float) -> None:
        sut = record.sut
        spent_s = now_s - record.began_s
        if name == "DeadlineExceeded":
            if spent_s < record.timeout_s - _SLACK_S and not self._is_disturbed(record, now_s):
                self._report("call-ends-once", f"call {record.name} ran out of time {spent_s:.3f} s after it began")
            self._check_late_hedge(record, attempts, now_s)
            return
        if not attempts:
            self._report("failure-explained", f"call {record.name} failed as {name} without an attempt")
            return
        last = attempts[-1]
        label = last.status if last.attempt_status == STATUS else last.attempt_status
        is_retried = label in sut.retry_on or (label == _RATE_LIMITED and last.asked_s > 0)
        left = sut.steady_since(record.began_s) - {tried.address for tried in attempts}
        excuses = (
            not is_retried,
            record.is_once and last.attempt_status not in NEVER_SENT,
            _spent(attempts, sut) >= sut.attempts,
            len(attempts) >= _MOST_RESORTS,
            not left,
            record.timeout_s - spent_s <= max(last.asked_s, sut.backoff_max_s) + _SLACK_S,
            self._budgets.is_budget_short(sut, self._recent_retries(sut, now_s) + self._undecided(now_s)),
            self._is_disturbed(record, now_s),
        )
        if not any(excuses):
            untried = ", ".join(map(spelled, sorted(left)))
            spent = f"{self._recent_retries(sut, now_s)} retries lately, of {sut.budget_floor:g} at least"
            says = f"gave up after {len(attempts)} attempts with {untried} untried, and {spent}"
            self._report("failure-explained", f"call {record.name} {says}")

    def _check_late_hedge(self, record: ObservedCall, attempts: list[ObservedAttempt], now_s: float) -> None:
        """Check `late-hedge`: if slow responses are unusual, a call that ran out of time must have been hedged."""
        sut = record.sut
        left = sut.steady_since(record.began_s) - {tried.address for tried in attempts}
        excuses = (
            sut.hedge_after_s is None,
            record.is_once or record.takes_s,
            # After the response has begun, the client counts a pause as silence only after half of the call's time.
            record.near is not None and record.near.heard_ns > record.near.said_ns,
            not attempts or len(attempts) >= sut.attempts,
            attempts and attempts[-1].elapsed_s < record.timeout_s * _LAST_HEDGE_SHARE,
            not left,
            not self._slow[sut.number].is_usually_fast,
            self._recent_retries(sut, now_s) > sut.budget_floor / 2,
            self._is_disturbed(record, now_s),
        )
        if not any(excuses):
            untried = ", ".join(map(spelled, sorted(left)))
            self._report("late-hedge", f"call {record.name} waited in silence to its end, with {untried} untried")

    def _undecided(self, now_s: float) -> int:
        """Count the calls that may have used the budget for a retry that is not in the counters yet."""
        return len(self.in_flight) + sum(at_s > now_s - _BUDGET_WINDOW_S for at_s in self._cancelled.values())

    def _recent_retries(self, sut: ClientUnderTest, now_s: float) -> int:
        since_s, before = self._retries[sut.number][0]
        return sut.retries + sut.hedges - before if since_s > now_s - 2 * _BUDGET_WINDOW_S else 0


def _spent(attempts: list[ObservedAttempt], sut: ClientUnderTest) -> int:
    """Count the attempts to which the limit applies.

    The first attempt that was stale or unsent is not counted, nor are attempts that reached no instance. Silent
    attempts are not counted either, unless the client's setting `attempts` is 1.

    If the list has a single instance, to which all attempts were sent, only two kinds are not counted: the first stale
    or unsent attempt, and attempts that failed for lack of local resources.
    """
    stale = sum(tried.attempt_status in _NO_FAILURE for tried in attempts)
    free = _NEVER_SENT_ANYWHERE | (_SILENT if sut.attempts > 1 else frozenset())
    if len(sut.view) == 1 and all(tried.address in sut.view for tried in attempts):
        free = frozenset({LOCAL})
    return len(attempts) - min(stale, 1) - sum(tried.attempt_status in free for tried in attempts)
