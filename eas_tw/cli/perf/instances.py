"""`InstanceTable`, which counts attempts and ejections of each instance from the client's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from eas_tw import AttemptStatus
from eas_tw.cli.perf.histogram import CompactHistogram
from eas_tw.telemetry.events import AttemptEnded, Ejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.telemetry.events import Event


@define
class InstanceRow:
    """The counts of one instance.

    Attributes:
        attempts: The number of attempts that ended. Cancelled attempts are not included, for example those of a call
            that another attempt has answered.
        errors: The number of attempts, without cancelled ones, that did not get a successful response.
        retries: The number of attempts that were retries of an attempt that had failed.
        hedges: The number of attempts that were hedges; a retry of a hedge is counted as a retry.
        ejections: The number of times that the instance was ejected.
        latencies: The durations of the answered attempts; for a stream, the time until the head of the response.
    """

    attempts: int = 0
    errors: int = 0
    retries: int = 0
    hedges: int = 0
    ejections: int = 0
    latencies: CompactHistogram = field(factory=CompactHistogram)


class InstanceTable:
    """A listener of a client's events. Attempts that began before the measurement are not counted.

    Args:
        seconds: A function that returns the time of the reactor's clock, in seconds.
        begin_s: The beginning of the measurement, in seconds of that clock.

    Attributes:
        rows: A row for each instance that had an attempt or an ejection, by address.
        retries: The number of retries on all instances.
        hedges: The number of hedges on all instances.
    """

    def __init__(self, seconds: Callable[[], float], begin_s: float) -> None:
        self._seconds = seconds
        self._begin_s = begin_s
        self.rows: dict[str, InstanceRow] = {}
        self.retries = 0
        self.hedges = 0

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, AttemptEnded):
            if self._seconds() - event.elapsed_s >= self._begin_s:
                self._count_attempt(event)
        elif isinstance(event, Ejected) and self._seconds() >= self._begin_s:
            self._row(event.instance.address).ejections += 1

    def _count_attempt(self, event: AttemptEnded) -> None:
        row = self._row(event.instance.address)
        is_retry = event.retry_of is not None
        is_hedge = event.is_hedge and not is_retry
        self.retries += is_retry
        self.hedges += is_hedge
        row.retries += is_retry
        row.hedges += is_hedge
        status = event.outcome.attempt_status
        if status is AttemptStatus.CANCELLED:
            return
        row.attempts += 1
        if status is AttemptStatus.ANSWERED:
            row.latencies.record(event.elapsed_s)
        else:
            row.errors += 1

    def _row(self, address: str) -> InstanceRow:
        row = self.rows.get(address)
        if row is None:
            row = self.rows[address] = InstanceRow()
        return row
