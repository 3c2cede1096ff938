"""Where calls may go, as the client's runtime and its calls see it: `Upstream` or `Gateway`."""

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
    """Hears what a fleet chooses and records; the simulation's checkers do."""

    def on_chosen(self, instance: Instance, selection: Selection, now: float) -> None:
        """An instance was chosen for an attempt."""

    def on_ending(self, instance: Instance, outcome: Outcome, began: float) -> None:
        """The end of an attempt is about to be recorded, and what follows from it told."""

    def on_failed(self, instance: Instance, outcome: Outcome) -> None:
        """The end of an attempt that was not answered with a 200 was recorded."""

    def on_overheard(self, instance: Instance, outcome: Outcome) -> None:
        """What became of an attempt that its call had left is about to be recorded."""


class Fleet(Protocol):
    """The upstream of a service, or its gateway."""

    @property
    def is_ready(self) -> bool:
        """Whether calls have somewhere to go."""

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list; empty for a gateway."""

    @property
    def ejected(self) -> tuple[Key, ...]:
        """The instances that are left out for a while."""

    @property
    def is_sole(self) -> bool:
        """Whether there is one instance only."""

    def apply(self, instances: Sequence[Instance]) -> tuple[Change, ...]:
        """Take over a new list; what changed."""

    def close(self) -> Deferred[None]:
        """Give everything back; fires when every socket has reported its loss."""

    def observe(self, observer: FleetObserver) -> None:
        """Tell `observer` from now on."""

    def choose(self, selection: Selection, now: float) -> Instance | None:
        """The instance for an attempt, or `None`; each one chosen is told to `record` once."""

    def pool_of(self, instance: Instance) -> Dispatcher:
        """The line of that instance."""

    def has_another(self, failed: Collection[Key]) -> bool:
        """Whether an instance exists that has not failed."""

    def has_well(self, tried: Collection[Key]) -> bool:
        """Whether an untried instance exists that is not left out."""

    def record(self, instance: Instance, outcome: Outcome, began: float) -> None:
        """Take note of how an attempt ended that began then."""

    def began_to_answer(self, attempt: Attempt) -> None:
        """Note that the head of a stream has come; `record` is told of its end."""

    def suspect(self, attempt: Attempt) -> None:
        """Note that an attempt is overdue whose instance has said nothing since it began."""

    def is_probe(self, attempt: Attempt) -> bool:
        """Whether an attempt is the probe of an instance whose ejection is over."""

    def watch(self, attempt: Attempt, timeout_s: float) -> SilenceWatch | None:
        """Make what listens in place of an overdue attempt whose call goes on without it."""
