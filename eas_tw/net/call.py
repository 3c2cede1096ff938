"""One call, from the choice of an instance to the response.

A call chooses an instance, sends an attempt to it, records the outcome, and does what `policy.retry` decides from the
attempts so far. It ends with a response, a decision to give up, the deadline, or a cancel. Bodies are bytes here; the
reader converts them.

A call ends exactly once. Code of the program runs during a call: its listeners, its parser, and its own balancer. This
code may cancel the call, close the client, or make other calls, so each step that has run such code checks again
whether the call is over. An exception during a call, raised by such code or by a bug of this client, ends the call with
an error. The exception is not raised into the pool or the connection that called the method, because these also serve
other calls.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from eas_tw.display import text_of
from eas_tw.net.attempt import Attempt
from eas_tw.net.call_errors import (
    awaitable_error,
    deadline_error,
    gave_up_error,
    internal_error,
    no_instance_error,
    outcome_of,
)
from eas_tw.net.offload import Unfinished
from eas_tw.policy.balancing import NO_CALL
from eas_tw.policy.hedging import LOOK_SHARE
from eas_tw.policy.outcomes import ANSWERED, NEVER_SENT, NOT_ITS_FAULT, SUCCESSES, AttemptResult, AttemptStatus, Outcome
from eas_tw.policy.retry import GiveUp, Options, Retry
from eas_tw.policy.selection import FIRST, Selection
from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.net.attempt import WireRequest
    from eas_tw.net.call_context import CallContext
    from eas_tw.net.exchange import BodySink, NoBody
    from eas_tw.net.fleet import Fleet
    from eas_tw.net.stream import Source
    from eas_tw.policy.balancing import CallInfo
    from eas_tw.policy.instances import Instance
    from eas_tw.policy.retry import RetryPolicy

    Key = tuple[str, int]


_PAUSE_SHARE = 0.5
"""Minimum pause inside a response that counts as silence, as a share of the call's time."""
_SLACK = 1.0 - 1e-9
"""Tolerance in comparisons of times, because rounding of a float sum may make a timer fire early."""
_NO_TIME_LEFT = Outcome(AttemptStatus.LOCAL_RESOURCE)
"""Recorded instead of `DEADLINE` when a lack of local resources has used up the call's time."""


class Reader(Protocol):
    """Converts the response that ends a call to its result; shared by the calls of a client.

    `eas_tw.reading.ResponseReader` implements this interface. `net` must not import that class, because parsing of
    bodies belongs to a higher layer.

    Attributes:
        takes_any_status: Whether `read` also receives a response with an error status if the call is not retried.
    """

    takes_any_status: bool

    def read(self, parser: Any, head: bytes, body: bytes) -> Any:
        """Return the result of a response, or `Unfinished` when a thread is still decompressing it.

        Args:
            parser: The `parser` that was passed to the call.
            head: The response's status line and header fields.
            body: The response's body.
        """

    def error_body(self, parser: Any, head: bytes, body: bytes) -> bytes:
        """Return the body for a `StatusError`."""


class Call:
    """A call in flight.

    Args:
        context: The resources that the calls of the client share.
        fleet: The instances.
        request: The request to send.
        reader: The object that converts the response to the result.
        parser: The parser that is passed to the reader.
        timeout_s: The call's timeout in seconds.
        info: The `CallInfo` for the balancer; `NO_CALL` for a call without a key.
        is_idempotent: Whether the call may be sent to an instance after another instance may have received it.

    Attributes:
        request: The request to send.
        done: A Deferred that fires with the reader's result, or fails with a `RequestFailed`, `NoInstances`, or the
            exception that the reader raised. Cancelling it cancels the call.
        history: The attempts that have ended.
        deadline: The time by which the call ends, in the reactor's seconds.
        on_head: As `Exchange.on_head`, with the attempt as first argument; `None` to receive complete responses.
    """

    on_head: Callable[[Attempt, Source, int, bytes], BodySink | type[NoBody] | None] | None = None
    shows_latency = True
    """Whether the call's latency is used for hedging; `False` if the service may delay the response on purpose."""

    __slots__ = (
        "_attempts", "_context", "_failed", "_fleet", "_fresh", "_hedge_s", "_info", "_is_idempotent", "_is_over",
        "_parser", "_pause", "_reader", "_result", "_timeout_s", "_tried", "_work", "answered_by", "deadline", "done",
        "history", "request",
    )  # fmt: skip

    def __init__(
        self,
        context: CallContext,
        fleet: Fleet,
        request: WireRequest,
        reader: Reader,
        parser: Any,
        timeout_s: float,
        *,
        info: CallInfo = NO_CALL,
        is_idempotent: bool = True,
    ) -> None:
        self.done: Deferred[Any] = Deferred(self._cancelled)
        self.history: tuple[AttemptResult, ...] = ()
        self.request = request
        self._info = info
        self._context = context
        self._fleet = fleet
        self._reader = reader
        self._parser = parser
        self._timeout_s = timeout_s
        self._is_idempotent = is_idempotent
        self._attempts: tuple[Attempt, ...] = ()
        self._tried: tuple[Key, ...] = ()
        self._failed: tuple[Key, ...] = ()
        self._fresh = False
        self._hedge_s: float | None = None
        self._pause: IDelayedCall | None = None
        self._is_over = False
        self._result: Any = None
        self._work: Deferred[Any] | None = None
        self.answered_by: Instance | None = None

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        # Events refer to their call only so that listeners can group them. When events are pickled together, a plain
        # object is enough for grouping.
        return object, ()

    def start(self, preparing: Deferred[WireRequest] | None = None) -> Deferred[Any]:
        """Start the call; call this once.

        Args:
            preparing: A Deferred that fires with the request to send when its body has been compressed or hashed by
                `Offload`; `None` to send `request` now.

        Returns:
            `done`.
        """
        context = self._context
        now = context.seconds()
        self.deadline = now + self._timeout_s
        try:
            context.record.call_began()
            context.budget.record_call(now)
            context.in_flight.set(self, now, self._timeout_s)
            if preparing is None:
                if context.hedging.delay_s is not None:
                    self._plan_hedge(now)
                self._try(now)
            else:
                self._wait_for(preparing, self._prepared)
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)
        return self.done

    def _prepared(self, request: WireRequest) -> None:
        self.request = request
        now = self._context.seconds()
        self._plan_hedge(now)
        self._try(now)

    def _plan_hedge(self, now: float) -> None:
        """Set a timer for the hedging delay, if there is one."""
        delay_s = self._hedge_s = self._context.hedging.delay_s
        if delay_s is not None:
            self._context.hedges.set(self, now, delay_s)

    @property
    def began(self) -> float:
        """The time at which the call began, in the reactor's seconds."""
        return self.deadline - self._timeout_s

    # -- reports of attempts

    def attempt_answered(self, attempt: Attempt, status: int, head: bytes, body: bytes) -> None:
        """Handle a complete response."""
        if attempt not in self._attempts:
            return
        try:
            if status in SUCCESSES:
                self._win(attempt, is_whole=True)
                if not self._is_over:
                    self._conclude(self._reader.read, self._parser, head, body)
            else:
                self._attempt_ended(attempt, outcome_of(status, head))
                self._go_on((head, body))
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)

    def attempt_broke(self, attempt: Attempt, outcome: Outcome) -> None:
        """Handle an attempt that ended without a complete response."""
        if attempt not in self._attempts:
            return
        try:
            self._attempt_ended(attempt, outcome)
            is_local = outcome.attempt_status is AttemptStatus.LOCAL_RESOURCE
            if self._attempts and attempt.beside and outcome.attempt_status in NEVER_SENT and not is_local:
                # The hedge was not sent, so it has caused no load, and may be sent to another instance.
                if self._may_hedge(sum(not other.is_overdue for other in self._attempts)):
                    self._try(self._context.seconds(), again=self.history[-1])
            else:
                self._go_on(None)
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)

    def attempt_timed_out(self, attempt: Attempt) -> None:
        """End an attempt whose `attempt_timeout_s` has passed."""
        try:
            outcome = self._part(attempt, AttemptStatus.ATTEMPT_TIMEOUT)
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)
        else:
            self.attempt_broke(attempt, outcome)

    def attempt_not_written(self, attempt: Attempt, error: BaseException) -> None:
        """End an attempt whose request could not be written; it is unknown how much of it was sent."""
        contain(self._context.reactor.callLater, "a request could not be written")
        outcome = Outcome(
            AttemptStatus.LOST, detail=f"the request could not be written: {type(error).__name__}: {text_of(error)}"
        )
        try:
            attempt.let_go(AttemptStatus.CANCELLED)
        except BaseException:  # noqa: BLE001  a connection may fail to close, too
            contain(self._context.reactor.callLater, "a connection could not be closed")
        self.attempt_broke(attempt, outcome)

    # -- timers and abort

    def deadline_passed(self) -> None:
        """End the call with `DeadlineExceeded`."""
        try:
            self._let_go(AttemptStatus.DEADLINE)
            self._fail(deadline_error(self._timeout_s, self.history, was_answered=self.answered_by is not None))
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)

    def hedge_point_passed(self) -> None:
        """Check whether to hedge the call after a share of its time: an instance may go down without an error."""
        try:
            self._look_at_share()
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)

    def _look_at_share(self) -> None:
        if self._attempts and not self._look_elsewhere():
            context, timeout_s = self._context, self._timeout_s
            now = context.seconds()
            is_late = context.hedging.is_late(self._silence_s(self._attempts[-1], now), timeout_s)
            if is_late and context.hedging.is_half_over(now - self.began, timeout_s):
                self._hedge(now)

    def delay_passed(self) -> None:
        """Check whether to hedge the call when the hedging delay has passed."""
        self._hedge_s = None
        try:
            self._look()
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)

    def _look(self) -> None:
        if not self._attempts or self._look_elsewhere():
            return
        now, hedging = self._context.seconds(), self._context.hedging
        silent_s = self._silence_s(self._attempts[-1], now)
        if hedging.is_unasked and len(self._attempts) == 1 and silent_s >= (hedging.delay_s or 0.0) * _SLACK:
            self._hedge(now)
        elif len(self._attempts) > 1 or silent_s < hedging.next_s(self._timeout_s):
            # The last attempt has not waited long enough, perhaps because it is a recent retry. Check it again later.
            self._look_later(now)

    def _look_elsewhere(self) -> bool:
        """If the last attempt's instance is silent, send the call to another instance; return whether it is silent."""
        context, attempt, timeout_s = self._context, self._attempts[-1], self._timeout_s
        now = context.seconds()
        if (
            not context.hedging.is_silence(self._silence_s(attempt, now), now - self.began, timeout_s)
            or not attempt.is_silent
        ):
            return False
        if not attempt.is_overdue:
            attempt.is_overdue = True
            self._fleet.suspect(attempt)
        # A hedge leaves a queued attempt in its place, but a call that is not idempotent cannot be hedged.
        if attempt.is_connecting or (not self._is_idempotent and attempt.is_queued):
            if context.can_move and not self._is_being_answered() and self._may_move(now - attempt.began):
                # Nothing was sent, so the attempt can be moved even if the call is not idempotent, at no cost to the
                # fleet.
                self.attempt_broke(attempt, self._part(attempt, AttemptStatus.ATTEMPT_TIMEOUT))
        elif self._may_hedge(0):
            # When all instances are left out, half of the budget is reserved for the first instance that returns.
            is_well = self._fleet.has_well((*self._tried, *self._busy()))
            # A call that is the probe of an instance gets its hedge even when the budget is used up.
            is_free = is_well and self._fleet.is_probe(attempt)
            if context.budget.spend(now, 1.0 if is_well else 0.5) or is_free:
                self._try(now)
        if self._attempts:
            self._look_later(now, is_same=self._attempts[-1] is attempt)
        return True

    def _silence_s(self, attempt: Attempt, now: float) -> float:
        """Return the seconds of silence of an attempt's instance; 0 if the silence is not evidence.

        The usual time to the start of a response is known, but not the usual pause inside a response. So once a
        response has begun, only a pause of half the call's time counts as silence.
        """
        silent_s = now - attempt.heard_at
        return 0.0 if attempt.has_begun and silent_s < self._timeout_s * _PAUSE_SHARE else silent_s

    def _look_later(self, now: float, *, is_same: bool = False) -> None:
        """Schedule the next check of the last attempt, after a longer interval if it was found silent (`is_same`)."""
        if self._hedge_s is None:
            hedging, timeout_s = self._context.hedging, self._timeout_s
            self._hedge_s = timeout_s * LOOK_SHARE if is_same else hedging.next_s(timeout_s)
            self._context.hedges.set(self, now, self._hedge_s)

    def _may_move(self, waited_s: float) -> bool:
        """Return whether a queued attempt may move to another instance.

        1. Yes, if an untried instance exists.
        2. Yes, if the attempt has waited a sixteenth of the call's time, and an instance exists that has not failed the
           call.
        3. Otherwise no.
        """
        busy = self._busy()
        if self._fleet.has_another((*self._tried, *busy)):
            return True
        return waited_s >= self._timeout_s * LOOK_SHARE and self._fleet.has_another((*self._failed, *busy))

    def _hedge(self, now: float) -> None:
        if self._may_hedge(len(self._attempts)) and self._context.budget.spend(now):
            self._try(now)

    def _may_hedge(self, waiting: int) -> bool:
        """Return whether the call may be hedged if `waiting` of the running attempts count towards `attempts`."""
        policy = self._policy
        if self._is_over or not (self._is_idempotent and self._attempts and policy.attempts > 1):
            return False
        if self._is_being_answered():
            return False
        spent = policy.spent(self.history) + waiting
        return spent < policy.attempts and self._fleet.has_another((*self._tried, *self._busy()))

    def _is_being_answered(self) -> bool:
        """Return whether a part of a response has arrived lately for one of the running attempts."""
        heard_since = self._context.seconds() - self._timeout_s * _PAUSE_SHARE
        return any(attempt.has_begun and attempt.heard_at > heard_since for attempt in self._attempts)

    def _busy(self) -> tuple[Key, ...]:
        """Return the keys of the instances of the running attempts."""
        return tuple(attempt.instance.key for attempt in self._attempts)

    def abort(self, error: Exception) -> None:
        """End the call with `error` now."""
        try:
            self._let_go(AttemptStatus.CANCELLED)
            self._fail(error)
        except BaseException as raised:  # noqa: BLE001  an exception ends only this call
            self._break_off(raised)

    # -- internals

    def _try(self, now: float, again: AttemptResult | None = None) -> None:
        """Start the first attempt, a hedge, or the retry of `again`, on an instance that the fleet chooses."""
        fleet, context = self._fleet, self._context
        busy = self._busy() if self._attempts else ()
        is_first = not (busy or self._tried)
        # An instance on which the call is running must not get the call again, even if no other instance is left.
        if is_first and not (fleet.reads_calls or self._info.hold_s):
            selection = FIRST
        else:
            info = self._info.at(len(self.history) + len(busy) + 1, now)
            selection = Selection((*self._tried, *busy), (*self._failed, *busy), info)
        instance = fleet.choose(selection, now)
        if instance is None:
            if not busy:
                self._fail(no_instance_error(self.history))
            return
        if self.history and not busy:
            again = self.history[-1]
        # The attempt is stored before a later line can raise, so that its end is always recorded: the fleet counts
        # running attempts.
        attempt = Attempt(self, instance, selection.call, now, again, busy)
        if self._is_over:
            # A program's own balancer has cancelled the call or closed the client.
            fleet.record(attempt, Outcome(AttemptStatus.CANCELLED))
            return
        self._attempts = (*self._attempts, attempt) if busy else (attempt,)
        dispatcher = attempt.dispatcher = fleet.pool_of(instance)
        if context.attempt_timeout_s is not None:
            context.attempt_deadlines.set(attempt, now, context.attempt_timeout_s)
        context.record.attempt_began(attempt, dispatcher.address)
        dispatcher.submit(attempt, fresh=self._fresh)

    def _attempt_ended(self, attempt: Attempt, outcome: Outcome) -> None:
        context = self._context
        instance, elapsed_s = attempt.instance, context.seconds() - attempt.began
        self._attempts = tuple(other for other in self._attempts if other is not attempt)
        result = AttemptResult(instance, outcome, elapsed_s)
        self.history = (*self.history, result)
        self._tried = (*self._tried, instance.key)
        if outcome.attempt_status in NOT_ITS_FAULT:
            self._fresh = True
        elif outcome.attempt_status is not AttemptStatus.LOCAL_RESOURCE and (
            not (attempt.is_overdue and outcome.attempt_status is AttemptStatus.QUEUE_TIMEOUT) or self._fleet.is_sole
        ):
            # If the call only waited for a connection, the instance may get the call again when all other instances
            # have failed.
            self._failed = (*self._failed, instance.key)
        if context.attempt_timeout_s is not None:
            context.attempt_deadlines.clear(attempt, context.attempt_timeout_s)
        had_its_time = outcome.attempt_status is not AttemptStatus.DEADLINE or self._had_its_time(attempt)
        try:
            context.record.attempt_failed(attempt, self, result)
        finally:
            self._fleet.record(attempt, outcome if had_its_time else _NO_TIME_LEFT)

    def _had_its_time(self, attempt: Attempt) -> bool:
        """Return whether an attempt that the deadline ended counts as a failure of its instance.

        An attempt does not count if it began in the second half of the call's time and an earlier attempt ended for
        lack of a local resource.
        """
        if attempt.began - self.began <= self._timeout_s / 2:
            return True
        return all(result.outcome.attempt_status is not AttemptStatus.LOCAL_RESOURCE for result in self.history)

    def _go_on(self, answer: tuple[bytes, bytes] | None) -> None:
        """Retry or fail as the policy decides, if no attempt runs.

        Args:
            answer: The head and body of the last attempt's response; `None` if the attempt received no whole response.
        """
        if self._attempts or self._is_over:
            return
        context = self._context
        now = context.seconds()
        decision = self._policy.decide(
            self.history, self._options(now), budget=context.budget, now=now, rng=context.rng
        )
        if isinstance(decision, GiveUp):
            if answer is not None and self._reader.takes_any_status:
                self.answered_by = self.history[-1].instance
                self._conclude(self._reader.read, self._parser, *answer)
                return
            if answer is not None:
                answer = answer[0], self._reader.error_body(self._parser, *answer)
            self._fail(gave_up_error(decision.why, self.history, answer))
        else:
            self._retry(decision, now)

    @property
    def _policy(self) -> RetryPolicy:
        """The policy that decides on retries."""
        return self._context.policy

    def _options(self, now: float) -> Options:
        """Return the state of the call that the retry policy needs for its decision."""
        return Options(
            another=self._fleet.has_another(self._failed),
            sole=self._fleet.is_sole,
            remaining_s=self.deadline - now,
            is_idempotent=self._is_idempotent,
        )

    def _retry(self, decision: Retry, now: float) -> None:
        if decision.after_s > 0:
            self._pause = self._context.reactor.callLater(decision.after_s, self._after_pause)
        else:
            self._try(now)

    def _after_pause(self) -> None:
        self._pause = None
        try:
            self._try(self._context.seconds())
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)

    def _let_go(self, attempt_status: AttemptStatus) -> None:
        """Release the call's resources: places in queues, connections, the timer of a pause, and work in a thread."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()
        for attempt in self._attempts:
            if attempt in self._attempts:  # a listener of the previous attempt's end may have ended the call
                self._release(attempt, attempt_status)

    def _release(self, attempt: Attempt, attempt_status: AttemptStatus) -> None:
        outcome = Outcome(attempt_status)
        try:
            outcome = attempt.let_go(attempt_status)
        finally:
            self._attempt_ended(attempt, outcome)

    def _part(self, attempt: Attempt, attempt_status: AttemptStatus) -> Outcome:
        """Give up one attempt while the call continues; watch the connection of an overdue one for a late response."""
        # An attempt whose request is being written is not watched: the rest would be sent, although it is not needed.
        is_heard = attempt.is_overdue and not attempt.is_writing
        watch = self._fleet.watch(attempt, self._timeout_s) if is_heard else None
        return attempt.let_go(attempt_status, watch)

    def _win(self, attempt: Attempt, *, is_whole: bool) -> None:
        """Use the response of an attempt for the call, and give up the other attempts.

        The attempt is removed from the call before anything is recorded. If recording raises, `_break_off` must not end
        and record the attempt a second time. The end of a stream is recorded later.
        """
        context = self._context
        attempts = self._attempts
        self._attempts = () if len(attempts) == 1 else tuple(other for other in attempts if other is not attempt)
        if context.attempt_timeout_s is not None:
            context.attempt_deadlines.clear(attempt, context.attempt_timeout_s)
        if context.hedging.is_learning and self.shows_latency:
            context.hedging.observe(context.seconds() - attempt.began)
        if is_whole:
            self._fleet.record(attempt, ANSWERED)
        else:
            self._fleet.began_to_answer(attempt)
        # The response is reported before the other attempts are given up: a listener of their ends may end the call,
        # and a call reports nothing after its end.
        if context.record.is_heard:
            context.record.attempt_answered(attempt, self)
        if self._attempts:
            self._drop(attempt.began)
        self.answered_by = attempt.instance

    def _conclude(self, read: Callable[..., Any], *parts: Any) -> None:
        """End the call with the result of `read`; if the result is an `Unfinished`, wait for its work first."""
        try:
            result = read(*parts)
        except BaseException as error:  # noqa: BLE001  the caller's parser; its error is the call's result
            failure = Failure(awaitable_error(error, "the response's parser"))
            self._end(failure, type(failure.value).__name__, self.answered_by)
            return
        if type(result) is Unfinished:
            self._wait_for(result.work, partial(self._conclude, result.then))
        else:
            self._end(result, "", self.answered_by)

    def _wait_for(self, work: Deferred[Any], then: Callable[[Any], None]) -> None:
        """Call `then` with the result of `work`, which is stopped by the deadline, a cancel or `abort`."""
        self._work = work
        work.addCallbacks(self._work_done, self._work_failed, (then,))

    def _work_done(self, result: Any, then: Callable[[Any], None]) -> None:
        self._work = None
        try:
            then(result)
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)

    def _work_failed(self, failure: Failure) -> None:
        if self._work is not None:  # the call has not stopped the work
            self._work = None
            try:
                self._fail(failure.value if failure.value is not None else RuntimeError(str(failure)))
            except BaseException as error:  # noqa: BLE001  an exception ends only this call
                self._break_off(error)

    def _drop(self, winner_began: float) -> None:
        """Give up the remaining attempts; those that began before `winner_began` may be recorded as unresponsive."""
        now = self._context.seconds()
        for attempt in self._attempts:
            if attempt in self._attempts:
                silent_s = self._silence_s(attempt, now)
                is_late = attempt.began < winner_began and self._context.hedging.is_late(silent_s, self._timeout_s)
                outcome = Outcome(AttemptStatus.UNRESPONSIVE if is_late else AttemptStatus.CANCELLED)
                try:
                    outcome = self._part(attempt, outcome.attempt_status)
                finally:
                    self._attempt_ended(attempt, outcome)

    def _fail(self, error: BaseException) -> None:
        self._end(Failure(error), type(error).__name__, self.answered_by)

    def _end(self, result: Any, error: str, instance: Instance | None) -> None:
        """End the call unless it has ended: count it, report it, and fire `done` with `result`.

        Args:
            result: The response, or a `Failure`.
            error: The name of the error's class; empty for a response.
            instance: The instance that sent the response, usable or not; `None` if there was no response.
        """
        if self._is_over:
            return
        self._is_over = True
        self._result = result
        context = self._context
        try:
            context.in_flight.clear(self, self._timeout_s)
            if context.idle is not None:
                context.check_idle()
            if self._hedge_s is not None:
                context.hedges.clear(self, self._hedge_s)
        finally:
            try:
                if error or instance is None:
                    context.record.call_failed(self, error, instance)
                else:
                    context.record.call_answered(self, instance)
            finally:
                self._result = None
                if not self.done.called:
                    self.done.callback(result)

    def _cancelled(self, done: Deferred[Any]) -> None:
        if self._is_over:
            # A listener of the call's end has cancelled it; the result does not change.
            done.callback(self._result)
            return
        try:
            self._let_go(AttemptStatus.CANCELLED)
            self._fail(CancelledError())
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            self._break_off(error)

    def _break_off(self, error: BaseException) -> None:
        """End the call after an exception inside the client; call this in the `except` clause."""
        later = self._context.reactor.callLater
        contain(later, "a call ended by what was raised inside the client")
        failed = internal_error(error, self.history)
        try:
            try:
                self._let_go(AttemptStatus.CANCELLED)
            finally:
                self._fail(failed)
        except BaseException:  # noqa: BLE001  the call must end even if releasing it raises again
            contain(later, "a call could not be ended in order")
        if not self.done.called:
            self.done.errback(failed)
