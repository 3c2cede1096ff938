"""`Quiet`, which checks with a fixed loop that the machine is quiet before and after a measurement.

Other work on the machine has two effects: the loop waits for a processor (its wall time exceeds its CPU time), and the
loop itself becomes slower (shared caches, a lower clock frequency, other virtual machines on the host).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field

_ROUNDS = 15
_LOOP = 200_000
_MAX_WAIT = 1.05
"""The ratio of the loop's wall time to its CPU time from which the machine counts as busy."""
_MAX_DRIFT = 1.08
"""The ratio of the loop's two CPU times, the larger to the smaller, from which the machine counts as busy."""


@dataclass
class Quiet:
    """The state of the machine around one measurement.

    Attributes:
        before_s: CPU seconds of the loop before the measurement.
        after_s: CPU seconds of the loop after the measurement; 0 before `finish`.
        waits: Wall time divided by CPU time of each loop.
        load: Load averages over one minute, before and after.
    """

    before_s: float = 0.0
    after_s: float = 0.0
    waits: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    @classmethod
    def begin(cls) -> Quiet:
        """Measure the loop before a measurement."""
        quiet = cls()
        quiet.before_s = quiet._loop()
        return quiet

    def finish(self) -> None:
        """Measure the loop after the measurement."""
        self.after_s = self._loop()

    @property
    def complaint(self) -> str:
        """The reason why the figures must not be published; empty if they may be published."""
        if max(self.waits) > _MAX_WAIT:
            return f"other processes took {max(self.waits) - 1:.0%} of the processor's time"
        drift = max(self.after_s, self.before_s) / min(self.after_s, self.before_s)
        return f"the machine's speed changed by {drift - 1:.0%} during the measurement" if drift > _MAX_DRIFT else ""

    def as_dict(self) -> dict[str, object]:
        """Return the state for a JSON file."""
        return {
            "loop_before_s": self.before_s,
            "loop_after_s": self.after_s,
            "waits": self.waits,
            "load": self.load,
            "complaint": self.complaint,
        }

    def require(self, *, is_busy_allowed: bool) -> None:
        """If there is a complaint, print it, and exit with code 3 unless `is_busy_allowed`."""
        if self.complaint:
            print(f"benchmarks: not for publication: {self.complaint}", file=sys.stderr)
            if not is_busy_allowed:
                sys.exit(3)

    def _loop(self) -> float:
        """Run the loop, record its wait and the load average, and return the least CPU time of a round, in seconds."""
        least, cpu_s, wall_s = float("inf"), 0.0, 0.0
        for _ in range(_ROUNDS):
            wall, cpu = time.perf_counter(), time.process_time()
            total = 0
            for number in range(_LOOP):
                total += number & 7
            round_s = time.process_time() - cpu
            wall_s += time.perf_counter() - wall
            cpu_s += round_s
            least = min(least, round_s)
        self.waits.append(wall_s / cpu_s)
        self.load.append(os.getloadavg()[0])
        return least
