"""Counters of a client, which are always enabled; `record` increments them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Container

FORMER = "former instances"
"""The address under which the counts of instances are added up that left the list long ago."""
FORMER_KEPT = 256
"""The number of removed instances whose counts are kept by address; older ones are added to `FORMER`."""


@define
class Counters:
    """The counters of a client since its creation.

    When no call is in flight, the counters are equal to the sum of the events. In counters by address, `FORMER` stands
    for instances that left the list long ago.

    Attributes:
        calls: The number of calls that began.
        answered: The number of calls that ended with a response.
        failed: The number of calls that ended with an error, by the name of the error's class; cancelled calls are
            under `CancelledError`.
        attempts: The number of attempts, by the instance's address.
        failures: The number of attempts that did not succeed, by HTTP status or attempt status.
        failures_at: The number of attempts that did not succeed, by the instance's address.
        retries: The number of retries, by the HTTP status or attempt status of the attempt before.
        failovers: The number of retries on another instance than the attempt before.
        hedges: The number of hedges. A hedge that did not reach its instance and is sent again counts once.
        streams: The number of streams that were passed to a caller; their calls also count as `answered`.
        streams_broken: The number of streams that ended before their body, by attempt status; `cancelled` if the caller
            closed the stream.
        ejections: The number of ejections, by the instance's address.
        ejections_overflow: The number of ejections that `max_ejected_ratio` prevented, by the instance's address.
        balancer_fallbacks: The number of instances that weighted round robin chose, because a program's own balancer
            proposed none that may be used.
    """

    calls: int = 0
    answered: int = 0
    failed: Counter[str] = field(factory=Counter)
    attempts: Counter[str] = field(factory=Counter)
    failures: Counter[str] = field(factory=Counter)
    failures_at: Counter[str] = field(factory=Counter)
    retries: Counter[str] = field(factory=Counter)
    failovers: int = 0
    hedges: int = 0
    streams: int = 0
    streams_broken: Counter[str] = field(factory=Counter)
    ejections: Counter[str] = field(factory=Counter)
    ejections_overflow: Counter[str] = field(factory=Counter)
    balancer_fallbacks: int = 0

    def fold(self, listed: Container[str]) -> None:
        """Move the counts of removed instances to `FORMER`, except for the `FORMER_KEPT` most recent ones.

        Without this, a client that runs for months would keep a counter for each address it has ever seen. The sums do
        not change.

        Args:
            listed: The addresses of the instances in the list.
        """
        former = [address for address in self.attempts if address not in listed and address != FORMER]
        kept = set(former[-FORMER_KEPT:])
        for counts in (self.attempts, self.failures_at, self.ejections, self.ejections_overflow):
            for address in [address for address in counts if address not in listed and address not in kept]:
                if address != FORMER:
                    counts[FORMER] += counts.pop(address)
