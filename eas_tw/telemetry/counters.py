"""Plain counts of what a client did; cheap enough to be always on. `record` keeps them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Container

FORMER = "former instances"
"""The address that counts go to of instances that left the list long ago."""
FORMER_KEPT = 256
"""How many instances that left the list keep an address of their own in the counts: those tried first most recently."""


@define
class Counters:
    """Counts since the client was made; when no call is in flight, the sum of its events.

    Attributes:
        calls: Calls begun.
        answered: Calls that ended with a response.
        failed: Calls that ended with an error, by the error's name; cancelled ones under `CancelledError`.
        attempts: Requests tried on an instance, by the instance's address; `FORMER` stands for those that left the list
            long ago, here and wherever else counts are by address.
        failures: Attempts that did not end with a 200, by how they ended.
        failures_at: The same, by the instance's address.
        retries: Attempts after the first of their call, by what ended the one before.
        failovers: Those of them that went to another instance than the one before.
        hedges: Attempts beside another one of the same call that took long; one that reached nobody and is made again
            counts once.
        streams: Responses handed to a caller with their head, to be read while they arrive; their calls are `answered`.
        streams_broken: Those that ended before their body did, by how; `cancelled` where the reader closed it.
        ejections: Instances left out for a while, by address.
        ejections_overflow: Instances that should have been, while too many were already, by address.
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

    def fold(self, listed: Container[str]) -> None:
        """Add the counts of addresses that left the list to `FORMER`, but for the last `FORMER_KEPT`.

        Instances come and go: a client that runs for months would keep every address it ever saw. Sums stay the same.

        Args:
            listed: The addresses in the list.
        """
        former = [address for address in self.attempts if address not in listed and address != FORMER]
        kept = set(former[-FORMER_KEPT:])
        for counts in (self.attempts, self.failures_at, self.ejections, self.ejections_overflow):
            for address in [address for address in counts if address not in listed and address not in kept]:
                if address != FORMER:
                    counts[FORMER] += counts.pop(address)
