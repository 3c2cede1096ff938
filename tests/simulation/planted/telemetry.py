"""Bugs of counters and events."""

from __future__ import annotations

from typing import Any

from eas_tw.telemetry.events import Ejected
from eas_tw.telemetry.record import Record
from tests.simulation.planted.bugs import Patch, bug


@bug("telemetry-consistent")
def ejection_not_counted(patch: Patch) -> None:
    def ejected(self: Record, instance: Any, why: str) -> None:
        self._tell(Ejected(self.service, instance, why))

    patch(Record, "ejected", ejected)


@bug("telemetry-consistent")
def every_retry_counted_as_a_failover(patch: Patch) -> None:
    """A retry on the same instance, after a stale connection or without another instance, counts as a failover too."""
    began = Record.attempt_began

    def twice(self: Record, attempt: Any, address: str) -> None:
        before = self.counters.failovers
        began(self, attempt, address)
        self.counters.failovers = before + (attempt.retry_of is not None)

    patch(Record, "attempt_began", twice)
