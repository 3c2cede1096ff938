"""`Step`, which runs one load of a plan: ramp, warm-up and measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.cli.perf.figures import Figures
from eas_tw.cli.perf.in_flight import CallsInFlight
from eas_tw.cli.perf.instances import InstanceTable
from eas_tw.cli.perf.lag import GeneratorWatch, process_cpu_s
from eas_tw.cli.perf.loops import ClosedLoop, OpenLoop, Phases
from eas_tw.cli.perf.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from eas_tw.cli.perf.in_flight import Clock
    from eas_tw.cli.perf.plan import Load, Plan
    from eas_tw.telemetry.events import Event

    Listen = Callable[[Callable[[Event], None]], Callable[[], None]]


class Step:
    """Runs one load, from the ramp to the last response.

    Args:
        clock: The reactor.
        send: A function that starts a call and returns its Deferred.
        listen: The client's method `listen`.
        plan: The settings of the run.
        load: The load of this step.
        cpu_s: A function that returns the CPU time of the process, in seconds.

    Attributes:
        load: The load of this step.
        phases: The times of the step.
        recorder: The counts of the calls that have ended.
        calls: The calls in flight.
    """

    def __init__(
        self,
        clock: Clock,
        send: Callable[[], Deferred[Any]],
        listen: Listen,
        plan: Plan,
        load: Load,
        cpu_s: Callable[[], float] = process_cpu_s,
    ) -> None:
        self._clock = clock
        self._listen = listen
        self.load = load
        self.recorder = Recorder()  # made before the clock is read, because making its histograms takes a millisecond
        self.phases = _phases(clock.seconds(), plan)
        self.recorder.begin(self.phases.measure_s)
        self._instances = InstanceTable(clock.seconds, self.phases.measure_s)
        self._watch = GeneratorWatch(clock, cpu_s)
        self.calls = CallsInFlight(clock, send, self.recorder.record)
        loop = ClosedLoop if load.rate_per_s is None else OpenLoop
        self._loop = loop(clock, self.calls, load, self.phases)
        self._is_interrupted = False
        self._unfinished = 0
        self._oldest_s = 0.0

    @property
    def unsent(self) -> int:
        """The number of calls that were due but not sent."""
        return self._loop.unsent

    @property
    def is_interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._is_interrupted

    async def run(self) -> Figures:
        """Run the step to its end, or until `interrupt`, and return the results."""
        stop_listening = self._listen(self._instances)
        before_s = max(0.0, self.phases.measure_s - self._clock.seconds())
        starting = self._clock.callLater(before_s, self._watch.start)
        self._watch.start()
        try:
            await self._loop.run()
        finally:
            self._loop.stop()
            self.calls.cancel()
            if starting.active():
                starting.cancel()
            self._watch.stop()
            stop_listening()
        return self._figures()

    def interrupt(self) -> None:
        """Start no further call, and cancel the calls in flight; `run` returns the results so far."""
        if self._is_interrupted:
            return
        self._is_interrupted = True
        self._unfinished, self._oldest_s = len(self.calls), self.calls.oldest_s()
        self._loop.stop()
        self.calls.cancel()

    def _figures(self) -> Figures:
        return Figures(
            load=self.load,
            recorder=self.recorder,
            instances=self._instances,
            elapsed_s=max(0.0, self._ended_s() - self.phases.measure_s),
            unsent=self.unsent,
            unfinished=self._unfinished,
            oldest_s=self._oldest_s,
            lag=self._watch.lag.distribution(),
            cpu_share=self._watch.cpu_share(),
        )

    def _ended_s(self) -> float:
        """Return the time at which the measurement ended.

        Returns:
            1. The current time, if the step was interrupted.
            2. The end of the last call, if there is no `--duration`, or if all `--requests` calls have ended.
            3. Otherwise the end of `--duration`, or the end of the last call if it is later.
        """
        if self._is_interrupted:
            return self._clock.seconds()
        recorder, phases = self.recorder, self.phases
        calls = len(recorder.answered) + recorder.failures
        if phases.until_s is None or calls == phases.requests:
            return recorder.last_ended_s
        return max(phases.until_s, recorder.last_ended_s)


def _phases(now_s: float, plan: Plan) -> Phases:
    full_s = now_s + plan.ramp_s
    measure_s = full_s + plan.warm_up_s
    until_s = None if plan.duration_s is None else measure_s + plan.duration_s
    return Phases(now_s, full_s, measure_s, until_s, plan.requests)
