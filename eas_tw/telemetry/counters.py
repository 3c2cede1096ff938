"""Counters of a client, which are always enabled; `telemetry.record` increments them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Container

FORMER = "former instances"
"""The key, in counters by address, of the total count of the instances that left the list long ago."""
FORMER_KEPT = 256
"""The number of removed instances whose counts are kept by address; the other counts are added to `FORMER`."""


@define
class Counters:
    """The counters of a client since its creation.

    When no call is in flight, the counters are equal to the sum of the events. In counters by address, the key
    `FORMER` has the total count of the instances that left the list long ago.

    Attributes:
        calls: The number of calls that began.
        answered: The number of calls that ended with a response.
        failed: The number of calls that ended with an error, by the name of the error's class; cancelled calls are
            under `CancelledError`.
        attempts: The number of attempts, by the instance's address.
        failures: The number of attempts that did not succeed, by HTTP status or attempt status.
        failures_at: The number of attempts that did not succeed, by the instance's address.
        retries: The number of retries, by the HTTP status or attempt status of the previous attempt.
        failovers: The number of retries on an instance other than that of the previous attempt.
        hedges: The number of hedges. A hedge that did not reach its instance and is sent again counts once.
        streams: The number of streams that were passed to a caller; their calls also count as `answered`.
        streams_broken: The number of streams that ended before their body was complete, by attempt status; `cancelled`
            if the caller closed the stream.
        watches: The number of times a watch of a queue was opened, the first time and after each loss.
        watches_lost: The number of times an open watch was lost, or a watch could not be opened, by HTTP status or
            attempt status.
        frames: The number of frames that watches received for the first time.
        frames_repeated: The number of frames that watches received again, and did not pass to their reader.
        commits: The number of frames that were committed.
        commits_failed: The number of frames whose commit failed.
        ejections: The number of ejections, by the instance's address.
        ejections_overflow: The number of ejections that `max_ejected_ratio` prevented, by the instance's address.
        balancer_fallbacks: The number of times that weighted round robin chose the instance, because a program's own
            balancer proposed no instance that may be used.
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
    watches: int = 0
    watches_lost: Counter[str] = field(factory=Counter)
    frames: int = 0
    frames_repeated: int = 0
    commits: int = 0
    commits_failed: int = 0
    ejections: Counter[str] = field(factory=Counter)
    ejections_overflow: Counter[str] = field(factory=Counter)
    balancer_fallbacks: int = 0

    def fold(self, listed: Container[str]) -> None:
        """Move the counts of removed instances to `FORMER`, except for the last `FORMER_KEPT` of them in `attempts`.

        This bounds the memory of a client that runs for months, while instances with new addresses replace others. The
        sums do not change.

        Args:
            listed: The addresses of the instances in the list.
        """
        former = [address for address in self.attempts if address not in listed and address != FORMER]
        kept = set(former[-FORMER_KEPT:])
        for counts in (self.attempts, self.failures_at, self.ejections, self.ejections_overflow):
            for address in [address for address in counts if address not in listed and address not in kept]:
                if address != FORMER:
                    counts[FORMER] += counts.pop(address)
