"""`GeneratorWatch`, which measures timer lag and CPU time, to detect that the load generator itself is too slow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from eas_tw.cli.perf.histogram import CompactHistogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.cli.perf.in_flight import Clock

_EVERY_S = 0.02


def process_cpu_s() -> float:
    """Return the CPU time of this process, in seconds."""
    times = os.times()
    return times.user + times.system


class GeneratorWatch:
    """Measures the lateness of the reactor's timers, and the CPU time of the process.

    A busy reactor calls its timers late. It also reads responses late, which increases every measured latency.

    Args:
        clock: The reactor.
        cpu_s: A function that returns the CPU time of the process, in seconds.

    Attributes:
        lag: The lateness of the timers.
    """

    def __init__(self, clock: Clock, cpu_s: Callable[[], float] = process_cpu_s) -> None:
        self._clock = clock
        self._cpu_s = cpu_s
        self._timer: Any = None
        self.lag = CompactHistogram()

    def start(self) -> None:
        """Start a measurement; earlier measurements are dropped."""
        self.stop()
        self.lag = CompactHistogram()
        self._began_s, self._began_cpu_s = self._clock.seconds(), self._cpu_s()
        self._wait()

    def stop(self) -> None:
        """Stop the measurement, and cancel its timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cpu_share(self) -> float:
        """Return the share of one core that the process has used since `start`."""
        elapsed_s = self._clock.seconds() - self._began_s
        return (self._cpu_s() - self._began_cpu_s) / elapsed_s if elapsed_s > 0 else 0.0

    def _wait(self) -> None:
        self._due_s = self._clock.seconds() + _EVERY_S
        self._timer = self._clock.callLater(_EVERY_S, self._look)

    def _look(self) -> None:
        self.lag.record(max(0.0, self._clock.seconds() - self._due_s))
        self._wait()
