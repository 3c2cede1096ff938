"""One predict call, from pick to answer.

Acts and records: picks an instance, submits itself to its pool, notes how the attempt ended, and does what
`policy.retry` decides from the history, until there is a response, a decision to give up, the deadline, or a cancel.
Ends exactly once. Knows bytes, not bodies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from eas_tw import errors
from eas_tw.net.deadlines import Deadlines
from eas_tw.net.http1 import text_headers
from eas_tw.policy.outcomes import ANSWERED, NOT_ITS_FAULT, OK_STATUS, Attempt, Condition, Outcome
from eas_tw.policy.retry import GiveUp, Options, Retry, RetryBudget, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from random import Random

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.net.http1 import ClientConnection
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import Instance
    from eas_tw.telemetry.counters import Counters

    Key = tuple[str, int]

_EXCERPT_CHARS = 200


class Request(NamedTuple):
    """What is sent, the same on every attempt.

    Attributes:
        target: Path and query, as in the request line.
        fields: The header lines without Host, each ended by CRLF.
        body: The bytes.
    """

    target: bytes
    fields: bytes
    body: bytes

    def __repr__(self) -> str:
        """Without the fields, which have the token in its plain form."""
        return f"<Request {self.target.decode()} of {len(self.body)} bytes>"

    def head(self, host: bytes) -> bytes:
        """The request line and all headers, for one instance."""
        return b"POST %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (self.target, host, self.fields)


class Line(Protocol):
    """Where a call waits for its turn: the pool of an instance, or the gateway.

    Attributes:
        address: Of the instance, as `Instance.address`.
    """

    address: str

    def submit(self, call: Call, *, fresh: bool) -> None:
        """Dispatch the call, now or later."""

    def withdraw(self, call: Call) -> bool:
        """The call no longer waits; whether nothing of it can have been sent."""


class Fleet(Protocol):
    """Where a call may go: the upstream of a service, or the gateway."""

    def choose(self, tried: Collection[Key], failed: Collection[Key], now: float) -> Instance | None:
        """The instance for an attempt, or `None`."""

    def pool_of(self, instance: Instance) -> Line:
        """The line of that instance."""

    def has_another(self, failed: Collection[Key]) -> bool:
        """Whether an instance exists that has not failed."""

    @property
    def is_sole(self) -> bool:
        """Whether there is one instance only."""

    def record(self, instance: Instance, outcome: Outcome, began: float) -> None:
        """Take note of how an attempt ended that began then."""


class Calls:
    """All calls of a client, and what they share: policy, budget, clock, chance and counters."""

    def __init__(
        self, reactor: Reactor, policy: RetryPolicy, budget: RetryBudget, *, rng: Random, counters: Counters
    ) -> None:
        self.reactor = reactor
        self.seconds = reactor.seconds
        self.policy = policy
        self.budget = budget
        self.rng = rng
        self.counters = counters
        self.attempt_deadlines: Deadlines[Call] = Deadlines(reactor, Call.attempt_timed_out)
        self._in_flight: Deadlines[Call] = Deadlines(reactor, Call.deadline_passed)
        self._idle: Deferred[None] | None = None

    def begin(self, call: Call, now: float, timeout_s: float) -> None:
        """Count a call and watch its deadline."""
        self.counters.calls += 1
        self.budget.record_call(now)
        self._in_flight.set(call, now, timeout_s)

    def end(self, call: Call, timeout_s: float) -> None:
        """The call is over."""
        self._in_flight.clear(call, timeout_s)
        if self._idle is not None and not self._in_flight:
            idle, self._idle = self._idle, None
            idle.callback(None)

    async def drain(self, within_s: float, error: Exception) -> None:
        """Wait until no call is in flight; end those left after `within_s` with `error`."""
        if self._in_flight and within_s > 0:
            idle = self._idle = Deferred()
            timer = self.reactor.callLater(within_s, idle.callback, None)
            await idle
            if timer.active():
                timer.cancel()
        self._idle = None
        for call in self._in_flight:
            call.abort(error)
        self._in_flight.stop()
        self.attempt_deadlines.stop()


class Call:
    """A call in flight.

    Attributes:
        done: Fires with what `finish` makes of the response's body, or fails with one `RequestFailed`, `NoInstances` or
            whatever `finish` raises. Cancelling it cancels the call.
        history: The attempts that have ended.
    """

    __slots__ = (
        "_attempt_at", "_attempt_timeout_s", "_calls", "_connection", "_deadline", "_failed", "_finish", "_fleet",
        "_fresh", "_instance", "_is_idempotent", "_line", "_pause", "_request", "_timeout_s", "_tried", "done",
        "history",
    )  # fmt: skip

    def __init__(
        self,
        calls: Calls,
        fleet: Fleet,
        request: Request,
        finish: Callable[[bytes], Any],
        *,
        timeout_s: float,
        attempt_timeout_s: float | None,
        is_idempotent: bool = True,
    ) -> None:
        self.done: Deferred[Any] = Deferred(self._cancelled)
        self.history: tuple[Attempt, ...] = ()
        self._calls = calls
        self._fleet = fleet
        self._request = request
        self._finish = finish
        self._timeout_s = timeout_s
        self._attempt_timeout_s = attempt_timeout_s
        self._is_idempotent = is_idempotent
        self._tried: tuple[Key, ...] = ()
        self._failed: tuple[Key, ...] = ()
        self._fresh = False
        self._instance: Instance | None = None
        self._line: Line | None = None
        self._connection: ClientConnection | None = None
        self._pause: IDelayedCall | None = None

    @property
    def request(self) -> Request:
        """What is sent."""
        return self._request

    def start(self) -> Deferred[Any]:
        """Begin; to be called once.

        Returns:
            `done`.
        """
        calls = self._calls
        now = calls.seconds()
        self._deadline = now + self._timeout_s
        calls.begin(self, now, self._timeout_s)
        self._try(now)
        return self.done

    # -- what the pool and the connection report

    def dispatch(self, connection: ClientConnection, host: bytes) -> None:
        """The line has a connection for this call."""
        self._connection = connection
        request = self._request
        connection.send(request.head(host), request.body, self)

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """A whole response came."""
        if status == OK_STATUS:
            self._succeed(body)
            return
        fields = text_headers(head)
        outcome = Outcome(Condition.STATUS, status, retry_after_s=_retry_after_s(fields))
        self._attempt_ended(outcome)
        self._go_on_or(lambda why: _status_error(why, self.history, body=body, headers=fields))

    def broke(self, outcome: Outcome) -> None:
        """The attempt ended without a whole response."""
        self._attempt_ended(outcome)
        self._go_on_or(lambda why: _error_of(outcome.condition)(why, self.history))

    def deadline_passed(self) -> None:
        """The call's time is up, wherever it is."""
        self._let_go(Condition.DEADLINE)
        where = f"after {len(self.history)} attempts" if self.history else "before it was sent"
        text = f"the deadline of {self._timeout_s:g} s passed {where}{_trail(self.history)}"
        self._fail(errors.DeadlineExceeded(text, self.history))

    def attempt_timed_out(self) -> None:
        """One attempt's time is up."""
        self._let_go(Condition.ATTEMPT_TIMEOUT)
        self._go_on_or(lambda why: errors.ConnectionFailed(why, self.history))

    def abort(self, error: Exception) -> None:
        """End the call with this error, now."""
        self._let_go(Condition.CANCELLED)
        self._fail(error)

    # -- how it acts

    def _try(self, now: float) -> None:
        fleet, calls = self._fleet, self._calls
        instance = fleet.choose(self._tried, self._failed, now)
        if instance is None:
            self._fail(self._nobody())
            return
        self._instance = instance
        self._attempt_at = now
        if self._attempt_timeout_s is not None:
            calls.attempt_deadlines.set(self, now, self._attempt_timeout_s)
        self._line = line = fleet.pool_of(instance)
        calls.counters.attempts[line.address] += 1
        line.submit(self, fresh=self._fresh)

    def _attempt_ended(self, outcome: Outcome) -> None:
        instance, calls = self._instance, self._calls
        if instance is None:
            return
        now = calls.seconds()
        self.history = (*self.history, Attempt(instance, outcome, now - self._attempt_at))
        self._tried = (*self._tried, instance.key)
        if outcome.condition in NOT_ITS_FAULT:
            self._fresh = True
        else:
            self._failed = (*self._failed, instance.key)
        calls.counters.failures[_label(outcome)] += 1
        calls.counters.failures_at[instance.address] += 1
        if self._attempt_timeout_s is not None:
            calls.attempt_deadlines.clear(self, self._attempt_timeout_s)
        self._instance = self._connection = self._line = None
        self._fleet.record(instance, outcome, self._attempt_at)

    def _go_on_or(self, error: Callable[[str], Exception]) -> None:
        """Do what policy decides; fail with `error` of a sentence when that is to give up."""
        calls = self._calls
        now = calls.seconds()
        options = Options(
            another=self._fleet.has_another(self._failed),
            sole=self._fleet.is_sole,
            remaining_s=self._deadline - now,
            is_idempotent=self._is_idempotent,
        )
        decision = calls.policy.decide(self.history, options, budget=calls.budget, now=now, rng=calls.rng)
        if isinstance(decision, GiveUp):
            self._fail(error(f"{self.history[-1]} {decision.why}{_trail(self.history[:-1])}"))
        else:
            self._retry(decision, now)

    def _retry(self, decision: Retry, now: float) -> None:
        self._calls.counters.retries[_label(self.history[-1].outcome)] += 1
        if decision.after_s > 0:
            self._pause = self._calls.reactor.callLater(decision.after_s, self._after_pause)
        else:
            self._try(now)

    def _after_pause(self) -> None:
        self._pause = None
        self._try(self._calls.seconds())

    def _let_go(self, condition: Condition) -> None:
        """Leave the line, close the connection, drop the pause: whatever the call holds."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        connection, line = self._connection, self._line
        if connection is not None:
            connection.abandon()
        elif line is not None and line.withdraw(self) and condition is not Condition.CANCELLED:
            condition = Condition.WAITED
        self._attempt_ended(Outcome(condition))

    def _succeed(self, body: bytes) -> None:
        calls = self._calls
        calls.end(self, self._timeout_s)
        if self._attempt_timeout_s is not None:
            calls.attempt_deadlines.clear(self, self._attempt_timeout_s)
        if self._instance is not None:
            self._fleet.record(self._instance, ANSWERED, self._attempt_at)
        self._instance = self._connection = self._line = None
        try:
            result = self._finish(body)
        except Exception as error:  # noqa: BLE001  the caller's parser; its error is the call's result
            self._fail(error)
            return
        calls.counters.answered += 1
        self.done.callback(result)

    def _fail(self, error: Exception) -> None:
        calls = self._calls
        calls.end(self, self._timeout_s)
        calls.counters.failed[type(error).__name__] += 1
        self.done.errback(error)

    def _cancelled(self, _: Deferred[Any]) -> None:
        calls = self._calls
        calls.end(self, self._timeout_s)
        calls.counters.failed["CancelledError"] += 1
        self._let_go(Condition.CANCELLED)

    def _nobody(self) -> Exception:
        if self.history:
            return errors.ConnectionFailed(f"no instance is left to try{_trail(self.history)}", self.history)
        return errors.NoInstances("the list of instances is empty: wait for init() before the first predict()")


def _label(outcome: Outcome) -> str:
    return str(outcome.status) if outcome.condition is Condition.STATUS else outcome.condition.value


def _trail(history: tuple[Attempt, ...]) -> str:
    return "; attempts: " + ", ".join(map(str, history)) if history else ""


def _error_of(condition: Condition) -> type[errors.RequestFailed]:
    return {
        Condition.VIOLATION: errors.ProtocolViolation,
        Condition.OVERLOADED: errors.Overloaded,
    }.get(condition, errors.ConnectionFailed)


def _status_error(
    why: str, history: tuple[Attempt, ...], *, body: bytes, headers: dict[str, str]
) -> errors.StatusError:
    excerpt = body[:_EXCERPT_CHARS].decode("utf-8", "replace").strip()
    text = f"{why}; the response says: {excerpt}" if excerpt else why
    return errors.StatusError(text, history, status=history[-1].outcome.status, body=body, headers=headers)


def _retry_after_s(headers: dict[str, str]) -> float | None:
    """The seconds form only (RFC 9110 §10.2.3): a date would need the server's clock to agree with ours."""
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None
