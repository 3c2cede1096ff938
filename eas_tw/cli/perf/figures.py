"""`Figures`, the results of one step of a run, from which all kinds of output are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from eas_tw.cli.perf.bottleneck import bottleneck

if TYPE_CHECKING:
    from eas_tw.cli.perf.distribution import Distribution
    from eas_tw.cli.perf.instances import InstanceTable
    from eas_tw.cli.perf.plan import Load
    from eas_tw.cli.perf.recorder import Recorder

PERCENTILES = (50, 90, 95, 99, 99.9)


@define
class Figures:
    """The results of one step.

    Attributes:
        load: The load.
        recorder: The recorder that counted the calls.
        instances: The counts of attempts and ejections for each instance.
        elapsed_s: The seconds from the beginning of the measurement to its end: the end of its last call, the end of
            `--duration`, or the interrupt.
        unsent: The number of calls that were due but not sent, because too many calls were in flight.
        unfinished: The number of calls that were in flight when the run was interrupted.
        oldest_s: The age of the oldest unfinished call, in seconds; 0 if there is none.
        lag: The lateness of the reactor's timers, in seconds.
        cpu_share: The share of one core that the process used, from 0 to 1 or more.
        answered: The latencies of the answered calls, in seconds.
        failed: The durations of the failed calls, in seconds.
        first_bytes: For streams, the times from the due time of a call to the first byte of the body, in seconds.
        gaps: For streams, the times between two events, in seconds.
        delays: The lateness of calls: the times from the due time to the start of a call, in seconds.
    """

    load: Load
    recorder: Recorder
    instances: InstanceTable
    elapsed_s: float
    unsent: int
    unfinished: int
    oldest_s: float
    lag: Distribution
    cpu_share: float
    answered: Distribution = field(init=False)
    failed: Distribution = field(init=False)
    first_bytes: Distribution = field(init=False)
    gaps: Distribution = field(init=False)
    delays: Distribution = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.answered = self.recorder.answered.distribution()
        self.failed = self.recorder.failed.distribution()
        self.first_bytes = self.recorder.first_bytes.distribution()
        self.gaps = self.recorder.gaps.distribution()
        self.delays = self.recorder.delays.distribution()

    @property
    def calls(self) -> int:
        """The number of calls that were due and have a result; a call that was not sent counts as failed."""
        return self.answered.count + self.missing

    @property
    def missing(self) -> int:
        """The number of calls without an answer: failed, or not sent."""
        return self.failed.count + self.unsent

    @property
    def error_share(self) -> float:
        """The share of calls without an answer, from 0 to 1."""
        return self.missing / self.calls if self.calls else 0.0

    @property
    def calls_per_s(self) -> float:
        """The number of answered calls per second."""
        return self._per_s(self.answered.count)

    @property
    def events_per_s(self) -> float:
        """The number of events of all streams per second."""
        return self._per_s(self.recorder.events)

    @property
    def tokens_per_s(self) -> float:
        """The number of tokens of all streams per second."""
        return self._per_s(self.recorder.tokens)

    @property
    def bottleneck(self) -> str:
        """The reasons why the load generator was the bottleneck, as text; empty if it was not."""
        is_open = self.load.rate_per_s is not None
        return bottleneck(self.lag, self.cpu_share, self.delays if is_open and not self.unsent else None, self.answered)

    @property
    def warnings(self) -> list[str]:
        """Warnings for the reader of the results, such as a bottleneck or an interrupt, each as text."""
        said = [self.bottleneck] if self.bottleneck else []
        if self.unsent:
            said.append(
                f"{self.unsent} calls were due and were not sent, because {self.load.in_flight} calls were in flight "
                "(--max-in-flight); they count as not answered"
            )
        if self.unfinished:
            said.append(
                f"{self.unfinished} calls were in flight when the run was interrupted, the oldest for "
                f"{self.oldest_s:.3f} s; they are not in the results"
            )
        return said

    def time(self, part: str, metric: str) -> float | None:
        """Return a time in seconds.

        The time of a call without an answer is infinite, so that a service cannot meet a limit by failing fast.

        Args:
            part: Empty for the latency, `first-byte`, or `gap`.
            metric: `mean`, `max`, or a percentile such as `p99.9`. The mean includes only answered calls.

        Returns:
            The time; infinite if it is the time of a call without an answer; `None` if nothing was measured.
        """
        found, histogram = {
            "": (self.answered, self.recorder.answered),
            "first-byte": (self.first_bytes, self.recorder.first_bytes),
            "gap": (self.gaps, self.recorder.gaps),
        }[part]
        missing = 0 if part == "gap" else self.missing
        if not found.count and (part or not missing):
            return None
        if metric == "mean":
            return histogram.mean_s if found.count else None
        if metric == "max":
            return float("inf") if missing else histogram.max_s
        value = found.percentile(float(metric[1:]), missing)
        return float("inf") if value is None else value

    def why_none(self, part: str) -> str:
        """Describe why `time` returns `None`.

        Args:
            part: As for `time`.
        """
        if not self.answered.count:
            return "no call was answered"
        return "the calls were no streams (--stream)" if part else "nothing was measured"

    def _per_s(self, count: int) -> float:
        return count / self.elapsed_s if self.elapsed_s > 0 else 0.0
