"""The two ways to put load on a service: a closed loop and an open loop.

A closed loop has a fixed number of callers, each of which waits for its response before it calls again. When the
service stalls, the callers stall as well, so only a few calls have a high latency. An open loop starts calls at the
times of a schedule and does not wait for responses, like independent users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults

from eas_tw.cli.perf.schedule import Schedule

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from eas_tw.cli.perf.in_flight import CallsInFlight, Clock
    from eas_tw.cli.perf.plan import Load


EARLY_S = 0.001
"""The time in seconds by which calls of an open loop may be sent early.

Timers of a reactor are up to 1 ms late, because epoll and poll have a resolution of milliseconds. For a service that
answers within a millisecond, this lateness would be half of the measured latency. So calls are sent up to 1 ms early
instead, and the latency of such a call counts from its start.
"""

_REST_S = 0.001


@frozen
class Phases:
    """The times of a step, in seconds of the reactor's clock.

    Attributes:
        begin_s: The beginning of the ramp.
        full_s: The end of the ramp.
        measure_s: The end of the warm-up, at which the measurement begins.
        until_s: The end of the measurement; no call is started at or after this time. `None` for no bound.
        requests: The number of calls of the measurement; `None` for no bound.
    """

    begin_s: float
    full_s: float
    measure_s: float
    until_s: float | None
    requests: int | None


class ClosedLoop:
    """Keeps a fixed number of calls in flight.

    Args:
        clock: The reactor.
        calls: The object that starts the calls.
        load: The number of calls in flight; the rate is not used.
        phases: The times of the step.

    Attributes:
        unsent: Always 0, because a closed loop has no schedule; `OpenLoop` has the same attribute.
    """

    def __init__(self, clock: Clock, calls: CallsInFlight, load: Load, phases: Phases) -> None:
        self._clock = clock
        self._calls = calls
        self._callers = load.in_flight
        self._phases = phases
        self._left = phases.requests
        self._pauses: dict[Deferred[None], Any] = {}
        self._is_stopped = False
        self.unsent = 0

    def run(self) -> Deferred[None]:
        """Make the calls; return a Deferred that fires when the last call has ended."""
        phases = self._phases
        ramp_s = phases.full_s - phases.begin_s
        callers = self._callers
        if phases.requests is not None and phases.measure_s == phases.begin_s:
            callers = min(callers, phases.requests)
        starting = [Deferred.fromCoroutine(self._caller(ramp_s * number / callers)) for number in range(callers)]
        return gatherResults(starting, consumeErrors=True).addCallbacks(lambda _: None, _first)

    def stop(self) -> None:
        """Start no further call."""
        self._is_stopped = True
        pauses, self._pauses = self._pauses, {}
        for pausing, timer in pauses.items():
            timer.cancel()
            pausing.callback(None)

    async def _caller(self, delay_s: float) -> None:
        if delay_s:
            await self._pause(delay_s)
        while self._takes_another():
            ending = self._calls.start(self._clock.seconds())
            if ending.called:
                # The call has ended synchronously, for example because the client has no instances. Without a pause,
                # this loop would block the reactor, and no timer or signal would be handled.
                await self._pause(_REST_S)
            await ending

    def _takes_another(self) -> bool:
        phases, now_s = self._phases, self._clock.seconds()
        if self._is_stopped or (phases.until_s is not None and now_s >= phases.until_s):
            return False
        if self._left is not None and now_s >= phases.measure_s:
            if not self._left:
                return False
            self._left -= 1
        return True

    def _pause(self, seconds: float) -> Deferred[None]:
        pausing: Deferred[None] = Deferred()
        self._pauses[pausing] = self._clock.callLater(seconds, self._resume, pausing)
        return pausing

    def _resume(self, pausing: Deferred[None]) -> None:
        del self._pauses[pausing]
        pausing.callback(None)


def _first(failure: Failure) -> Failure:
    """Return the failure of the caller that failed first."""
    error: Any = failure.value  # a FirstError
    found: Failure = error.subFailure
    return found


class OpenLoop:
    """Starts calls at the times of a schedule.

    If `load.in_flight` calls are in flight, further calls wait. Their latency is counted from the time at which they
    were due. A call that still waits at the end of the measurement is not sent.

    Args:
        clock: The reactor.
        calls: The object that starts the calls.
        load: The rate, and the maximum number of calls in flight.
        phases: The times of the step.
        early_s: The seconds that a call may be sent early.

    Attributes:
        unsent: The number of calls that were due in the measurement but not sent.
    """

    def __init__(
        self, clock: Clock, calls: CallsInFlight, load: Load, phases: Phases, early_s: float = EARLY_S
    ) -> None:
        if load.rate_per_s is None:
            raise ValueError("an open loop needs a rate")
        self._clock = clock
        self._calls = calls
        self._most = load.in_flight
        self._early_s = early_s
        self._schedule = Schedule(phases.begin_s, load.rate_per_s, phases.full_s - phases.begin_s)
        self._first_measured = self._schedule.calls_before(phases.measure_s)
        self._end = self._number_of_calls(phases)
        self._until_s = phases.until_s
        self._next = 0
        self._timers: dict[str, Any] = {}
        self._is_sending = False
        self._is_stopped = False
        self._done: Deferred[None] = Deferred()
        self.unsent = 0

    def run(self) -> Deferred[None]:
        """Make the calls; return a Deferred that fires when the last call has ended."""
        if self._until_s is not None:
            self._timers["stop"] = self._clock.callLater(self._until_s - self._clock.seconds(), self._reach_end)
        self._send_due()
        return self._done

    def stop(self) -> None:
        """Start no further call, not even a call that is due and waits."""
        if self._is_stopped:
            return
        self._is_stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        due = min(self._schedule.calls_before(self._clock.seconds()), self._end)
        self.unsent = max(0, due - max(self._next, self._first_measured))
        self._look_for_end()

    def _reach_end(self) -> None:
        del self._timers["stop"]
        self.stop()

    def _number_of_calls(self, phases: Phases) -> int:
        ends = []
        if phases.until_s is not None:
            ends.append(self._schedule.calls_before(phases.until_s))
        if phases.requests is not None:
            ends.append(self._first_measured + phases.requests)
        return min(ends)

    def _send_due(self) -> None:
        self._timers.pop("send", None)
        self._is_sending = True
        now_s = self._clock.seconds()
        while not self._is_stopped and self._next < self._end and len(self._calls) < self._most:
            due_s = self._schedule.time_of(self._next)
            if due_s - self._early_s > now_s:
                self._timers["send"] = self._clock.callLater(due_s - self._early_s - now_s, self._send_due)
                break
            self._next += 1
            self._calls.start(due_s).addCallbacks(self._ended, self._broke)
        self._is_sending = False
        self._look_for_end()

    def _ended(self, _: None) -> None:
        # If the condition is false, `_send_due` is running, or a timer will call `_send_due`.
        if not self._is_sending and "send" not in self._timers:
            self._send_due()

    def _broke(self, failure: Failure) -> None:
        if not self._done.called:
            self._done.errback(failure)
        self.stop()

    def _look_for_end(self) -> None:
        is_over = self._is_stopped or self._next >= self._end
        if is_over and not len(self._calls) and not self._done.called:
            self._is_stopped = True
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()
            self._done.callback(None)
