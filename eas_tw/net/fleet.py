"""The interface of a fleet to the client's runtime and its calls; `Upstream` and `Gateway` implement it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Protocol as TwistedProtocol

    from eas_tw.net.attempt import Attempt, Dispatcher
    from eas_tw.net.own_connection import OnFailed
    from eas_tw.net.watch import SilenceWatch
    from eas_tw.policy.balancing import CallInfo
    from eas_tw.policy.instances import Change, Instance
    from eas_tw.policy.outcomes import Outcome
    from eas_tw.policy.selection import Selection

    Key = tuple[str, int]


class Begun(Protocol):
    """The fields of an attempt that `Fleet.record` requires.

    Attributes:
        instance: The instance of the attempt.
        info: The `CallInfo` with which the instance was chosen.
        began: The time at which the attempt began, in the reactor's seconds.
    """

    instance: Instance
    info: CallInfo
    began: float


class FleetObserver(Protocol):
    """Observes the choices and recorded outcomes of a fleet; used by the simulation's checkers."""

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
        """Ip and port of the instances that are ejected."""

    @property
    def is_sole(self) -> bool:
        """Whether there is exactly one instance."""

    @property
    def reads_calls(self) -> bool:
        """Whether the balancer reads the `CallInfo` of a `Selection`; if not, pass `NO_CALL`."""

    def apply(self, instances: Sequence[Instance]) -> tuple[Change, ...]:
        """Replace the list, and return the changes."""

    def close(self) -> Deferred[None]:
        """Close all connections; return a Deferred that fires when every socket has reported its loss."""

    def observe(self, observer: FleetObserver) -> None:
        """Add an observer."""

    def choose(self, selection: Selection, now: float, /) -> Instance | None:
        """Choose the instance for an attempt; `None` if there is none. Call `record` once for each chosen instance."""

    def pool_of(self, instance: Instance) -> Dispatcher:
        """Return the pool of an instance."""

    def host_of(self, instance: Instance) -> str:
        """Return the Host header of requests to an instance."""

    def connect(self, instance: Instance, protocol: TwistedProtocol, on_failed: OnFailed) -> Callable[[], None]:
        """Open a connection outside the pools.

        Args:
            instance: The instance, as `choose` returned it.
            protocol: The protocol of the connection.
            on_failed: A function that is called with the outcome if the connection cannot be opened, unless it was
                cancelled.

        Returns:
            A function that cancels the opening of the connection; once the connection is open, the function does
            nothing.
        """

    def has_another(self, failed: Collection[Key]) -> bool:
        """Return whether an instance exists that is not in `failed`."""

    def has_well(self, tried: Collection[Key]) -> bool:
        """Return whether an instance exists that takes part and is not in `tried`."""

    def record(self, attempt: Begun, outcome: Outcome, latency_s: float | None = None) -> None:
        """Record how an attempt ended; `latency_s` is the time to the head of a stream, `None` for other attempts."""

    def began_to_answer(self, attempt: Begun) -> None:
        """Record that the head of a stream's response has arrived; `record` follows at its end."""

    def suspect(self, attempt: Attempt) -> None:
        """Record that an attempt is overdue, and that its instance has been silent since the attempt began."""

    def is_probe(self, attempt: Attempt) -> bool:
        """Return whether an attempt is the probe of an instance whose ejection is over."""

    def watch(self, attempt: Attempt, timeout_s: float) -> SilenceWatch | None:
        """Return a watch for an overdue attempt that its call gives up; `None` when no watch is needed."""
