"""`PerfRun`, which runs the steps of a plan one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.cli.perf.progress import Progress
from eas_tw.cli.perf.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from eas_tw.cli.perf.figures import Figures
    from eas_tw.cli.perf.in_flight import Clock
    from eas_tw.cli.perf.plan import Load, Plan
    from eas_tw.cli.perf.progress import Display
    from eas_tw.cli.perf.step import Listen


class PerfRun:
    """Runs a plan.

    Args:
        clock: The reactor.
        send: A function that starts a call and returns its Deferred.
        listen: The client's method `listen`.
        plan: The plan.
        display: The display of progress; `None` to show none.

    Attributes:
        results: The results of the steps that have ended.
        is_interrupted: Whether `interrupt` was called.
    """

    def __init__(
        self,
        clock: Clock,
        send: Callable[[], Deferred[Any]],
        listen: Listen,
        plan: Plan,
        display: Display | None = None,
    ) -> None:
        self._clock = clock
        self._send = send
        self._listen = listen
        self._plan = plan
        self._display = display
        self._step: Step | None = None
        self.results: list[Figures] = []
        self.is_interrupted = False

    async def run(self) -> None:
        """Run the steps in order, until all have ended or `interrupt` is called."""
        try:
            for load in self._plan.loads:
                if not self.is_interrupted:
                    self.results.append(await self._run(load))
        finally:
            if self._display is not None:
                self._display.close()

    def interrupt(self) -> None:
        """End the current step now, and run no further step; `results` also has the results of the interrupted step."""
        self.is_interrupted = True
        if self._step is not None:
            self._step.interrupt()

    async def _run(self, load: Load) -> Figures:
        step = self._step = Step(self._clock, self._send, self._listen, self._plan, load)
        progress = None if self._display is None else Progress(self._clock, self._display, step)
        if progress is not None:
            progress.start()
        try:
            return await step.run()
        finally:
            if progress is not None:
                progress.stop()
