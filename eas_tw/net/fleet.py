"""The fleet of a service as the client's runtime and its calls see it: `Upstream` or `Gateway`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from twisted.internet.defer import Deferred

    from eas_tw.net.attempt import Attempt, Dispatcher
    from eas_tw.net.watch import SilenceWatch
    from eas_tw.policy.instances import Change, Instance
    from eas_tw.policy.outcomes import Outcome
    from eas_tw.policy.selection import Selection

    Key = tuple[str, int]


class FleetObserver(Protocol):
    """Observes what a fleet chooses and records; used by the simulation's checkers."""

    def on_chosen(self, instance: Instance, selection: Selection, now: float) -> None:
        """Called after an instance was chosen for an attempt."""

    def on_ending(self, instance: Instance, outcome: Outcome, began: float) -> None:
        """Called before the end of an attempt is recorded and its consequences are reported."""

    def on_failed(self, instance: Instance, outcome: Outcome) -> None:
        """Called after the end of an attempt without a 2xx response was recorded."""

    def on_overheard(self, instance: Instance, outcome: Outcome) -> None:
        """Called before the outcome of a watched attempt, whose call has ended, is recorded."""


class Fleet(Protocol):
    """All instances of a service, or its gateway."""

    @property
    def is_ready(self) -> bool:
        """Whether an instance, or the gateway, can be chosen."""

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list of instances; empty for a gateway."""

    @property
    def ejected(self) -> tuple[Key, ...]:
        """The instances that are ejected."""

    @property
    def is_sole(self) -> bool:
        """Whether there is exactly one instance."""

    @property
    def reads_calls(self) -> bool:
        """Whether a `Selection` needs the `CallInfo` of its call; if not, it may be `NO_CALL`."""

    def apply(self, instances: Sequence[Instance]) -> tuple[Change, ...]:
        """Replace the list, and return the changes."""

    def close(self) -> Deferred[None]:
        """Close all connections; fires when every socket has reported its loss."""

    def observe(self, observer: FleetObserver) -> None:
        """Add an observer."""

    def choose(self, selection: Selection, now: float, /) -> Instance | None:
        """Choose the instance for an attempt, or `None`; pass each chosen one to `record` once."""

    def pool_of(self, instance: Instance) -> Dispatcher:
        """Return the pool of an instance."""

    def has_another(self, failed: Collection[Key]) -> bool:
        """Return whether an instance exists that is not in `failed`."""

    def has_well(self, tried: Collection[Key]) -> bool:
        """Return whether an instance exists that is neither in `tried` nor left out."""

    def record(self, attempt: Attempt, outcome: Outcome, latency_s: float | None = None) -> None:
        """Record how an attempt ended; `latency_s` is the time until the head of a stream."""

    def began_to_answer(self, attempt: Attempt) -> None:
        """Record that the head of a stream's response has arrived; `record` follows at its end."""

    def suspect(self, attempt: Attempt) -> None:
        """Record that an attempt is overdue and that its instance has been silent since it began."""

    def is_probe(self, attempt: Attempt) -> bool:
        """Return whether an attempt is the probe of an instance whose ejection is over."""

    def watch(self, attempt: Attempt, timeout_s: float) -> SilenceWatch | None:
        """Return a watch for an overdue attempt that its call gives up; `None` when none is needed."""
