"""Calls that are repeated until their deadline, and calls whose response the service may delay on purpose.

Both kinds are operations of a queue service. If a commit fails, the work on its frame is done twice. So a commit is
retried on every instance, and then on all of them again, until its deadline. A get waits in the service until a frame
arrives, so its silence is not evidence against the instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from eas_tw.net.call import Call
from eas_tw.policy.balancing import NO_CALL, CallInfo

if TYPE_CHECKING:
    from eas_tw.net.attempt import Attempt, WireRequest
    from eas_tw.net.call import Reader
    from eas_tw.net.call_context import CallContext
    from eas_tw.net.fleet import Fleet
    from eas_tw.policy.retry import Options, RetryPolicy


class RepeatedCall(Call):
    """A call that is repeated until its deadline.

    Args:
        context: The resources that the calls of the client share.
        fleet: The instances.
        request: The request to send.
        reader: The object that converts the response to the result.
        timeout_s: The time until the deadline in seconds; `hold_s` is added to it.
        is_idempotent: Whether the call may be repeated after an attempt may have reached an instance.
        hold_s: Seconds for which the service may delay the response on purpose.
    """

    __slots__ = ("_hold_s", "shows_latency")

    def __init__(
        self,
        context: CallContext,
        fleet: Fleet,
        request: WireRequest,
        reader: Reader,
        timeout_s: float,
        *,
        is_idempotent: bool,
        hold_s: float = 0.0,
    ) -> None:
        super().__init__(
            context,
            fleet,
            request,
            reader,
            None,
            timeout_s + hold_s,
            info=CallInfo(method=request.method.decode("ascii"), hold_s=hold_s) if hold_s else NO_CALL,
            is_idempotent=is_idempotent,
        )
        self._hold_s = hold_s
        self.shows_latency = not hold_s

    def attempt_timed_out(self, attempt: Attempt) -> None:
        """Ignore `attempt_timeout_s` if the service may delay the response; the deadline bounds such a call."""
        if not self._hold_s:
            super().attempt_timed_out(attempt)

    @property
    def _policy(self) -> RetryPolicy:
        return self._context.repeating_policy

    def _options(self, now: float) -> Options:
        options = super()._options(now)
        if options.another or options.sole:
            return options
        # Every instance has failed this call. All of them may be tried again, after a pause.
        self._tried = self._failed = ()
        return evolve(options, sole=True)

    def _silence_s(self, attempt: Attempt, now: float) -> float:
        return max(0.0, super()._silence_s(attempt, now) - self._hold_s)
