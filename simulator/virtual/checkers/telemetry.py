"""Checks that a client's counters agree with its events.

This module counts the events independently of the client's code. When no call is in flight, its counts must be equal to
the client's counters.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.virtual.checkers.base import Report
    from simulator.virtual.client_under_test import ClientUnderTest

_ACCOUNTS = (
    "calls", "answered", "failed", "attempts", "failures", "failures_at", "retries", "failovers", "hedges", "ejections",
    "ejections_overflow", "balancer_fallbacks", "streams", "streams_broken",
)  # fmt: skip
_FORMER = "former instances"
"""Key under which a client combines the counts of addresses that left its list long ago."""


class EventTotals:
    """The counters of a client, computed from its events."""

    def __init__(self) -> None:
        self.calls = self.answered = self.failovers = self.hedges = self.streams = self.balancer_fallbacks = 0
        self.failed: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.failures_at: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.ejections: Counter[str] = Counter()
        self.ejections_overflow: Counter[str] = Counter()
        self.streams_broken: Counter[str] = Counter()

    def call_ended(self, event: Any) -> None:
        """Count a call."""
        self.calls += 1
        if event.error:
            self.failed[event.error] += 1
        else:
            self.answered += 1

    def attempt_ended(self, event: Any) -> None:
        """Count an attempt."""
        address = event.instance.address
        self.attempts[address] += 1
        if event.outcome.attempt_status != "answered":
            self.failures[_label(event.outcome)] += 1
            self.failures_at[address] += 1
        if event.retry_of is not None:
            self.retries[_label(event.retry_of.outcome)] += 1
            self.failovers += address != event.retry_of.instance.address
        self.hedges += event.is_hedge and event.retry_of is None

    def stream_ended(self, event: Any) -> None:
        """Count a stream."""
        self.streams += 1
        if event.outcome.attempt_status != "answered":
            self.streams_broken[_label(event.outcome)] += 1

    def ejected(self, event: Any) -> None:
        """Count an ejection."""
        self.ejections[event.instance.address] += 1

    def not_ejected(self, event: Any) -> None:
        """Count an ejection that the bound on ejections prevented."""
        self.ejections_overflow[event.instance.address] += 1

    def balancer_fell_back(self, _: Any) -> None:
        """Count a choice in which weighted round robin replaced the program's own balancer."""
        self.balancer_fallbacks += 1

    def differences(self, counters: Any) -> list[str]:
        """Describe the differences from the client's own counters; valid only when no call is in flight."""
        pairs = ((name, *_folded_alike(getattr(self, name), getattr(counters, name))) for name in _ACCOUNTS)
        return [f"{name}: counted {counted}, told {told}" for name, told, counted in pairs if told != counted]


class TelemetryChecker:
    """Checks `telemetry-consistent`.

    Args:
        report: Called with the name of a checker and the description of a violation.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._totals: dict[int, EventTotals] = {}

    def open(self, sut: ClientUnderTest) -> EventTotals:
        """Return counters for the events of a client; the caller must report every event from the first one."""
        totals = self._totals[sut.number] = EventTotals()
        return totals

    def check_over(self, sut: ClientUnderTest) -> None:
        """Compare the counts of a client that has no call in flight."""
        totals = self._totals.get(sut.number)
        if totals is not None:
            for found in totals.differences(sut.client.counters):
                self._report(
                    "telemetry-consistent", f"client {sut.number} has counts that differ from its events: {found}"
                )


def _folded_alike(reported: Any, counted: Any) -> tuple[Any, Any]:
    """Combine the counts of the events (`reported`) as the client has combined its counters (`counted`).

    The part of an address's count that exceeds the client's counter for this address is added to `_FORMER`.
    """
    if not isinstance(reported, Counter) or _FORMER not in counted:
        return reported, counted
    folded = Counter(
        {address: min(count, counted[address]) for address, count in reported.items() if address in counted}
    )
    folded[_FORMER] = reported.total() - folded.total()
    return folded, counted


def _label(outcome: Any) -> str:
    return str(outcome.status if outcome.attempt_status == "status" else outcome.attempt_status)
