"""The resources that all calls of a client share, and `drain`, which waits until no call is running."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from eas_tw.net.deadlines import Deadlines
from eas_tw.policy.outcomes import AttemptStatus

if TYPE_CHECKING:
    from random import Random

    from eas_tw.net.attempt import Attempt
    from eas_tw.net.call import Call
    from eas_tw.net.pool import Reactor
    from eas_tw.net.stream import ResponseStream
    from eas_tw.policy.hedging import Hedging
    from eas_tw.policy.retry import RetryBudget, RetryPolicy
    from eas_tw.telemetry.record import Record


class CallContext:
    """The resources that all calls of a client share: policy, budget, clock, rng and record.

    Attributes:
        repeating_policy: The policy of calls that are repeated until their deadline.
        in_flight: The calls that have not ended, with their deadlines.
        streams: The streams that callers have received and that have not ended.
        idle: A Deferred that fires when `in_flight` and `streams` are empty; `None` if `drain` is not waiting.
    """

    def __init__(
        self,
        reactor: Reactor,
        policy: RetryPolicy,
        budget: RetryBudget,
        hedging: Hedging,
        *,
        attempt_timeout_s: float | None,
        rng: Random,
        record: Record,
    ) -> None:
        self.reactor = reactor
        self.seconds = reactor.seconds
        self.policy = policy
        self.repeating_policy = policy.until_deadline()
        self.budget = budget
        self.hedging = hedging
        self.rng = rng
        self.record = record
        self.attempt_timeout_s = attempt_timeout_s
        self.attempt_deadlines: Deadlines[Attempt] = Deadlines(reactor, methodcaller("timed_out"))
        self.hedges: Deadlines[Call] = Deadlines(reactor, methodcaller("delay_passed"))
        self.in_flight: Deadlines[Call] = Deadlines(
            reactor, methodcaller("deadline_passed"), hedging.hedge_points, methodcaller("hedge_point_passed")
        )
        self.can_move = AttemptStatus.QUEUE_TIMEOUT in policy.retry_on
        self.streams: dict[ResponseStream, None] = {}
        self.idle: Deferred[None] | None = None

    def check_idle(self) -> None:
        """Fire `idle` when no call and no stream is left."""
        if not self.in_flight and not self.streams:
            # `idle` fires one turn later, so that the last call's Deferred fires before `drain` returns.
            self.reactor.callLater(0, self._become_idle)

    def _become_idle(self) -> None:
        if self.idle is not None:
            idle, self.idle = self.idle, None
            idle.callback(None)

    async def drain(self, within_s: float, error: Exception) -> None:
        """Wait until all calls and streams have ended; after `within_s` seconds, end those that remain with `error`."""
        if (self.in_flight or self.streams) and within_s > 0:
            idle = self.idle = Deferred()
            timer = self.reactor.callLater(within_s, self._become_idle)
            await idle
            if timer.active():
                timer.cancel()
        for call in self.in_flight:
            call.abort(error)
        for stream in list(self.streams):
            stream.fail_by(AttemptStatus.CANCELLED, str(error))
        for deadlines in (self.in_flight, self.attempt_deadlines, self.hedges):
            deadlines.stop()
