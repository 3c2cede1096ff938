"""The active faults, the random draw of those that apply to a request, and the log of their activations.

The module has no I/O. Callers pass the target and the moment of a request, and carry out the faults that are returned.
"""

from __future__ import annotations

import warnings
from collections import deque
from random import Random
from typing import TYPE_CHECKING

from attrs import frozen

from simulator.fault_kinds import ON_INSTANCES
from simulator.faults import Fault, FaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_FAULTS = 1000
MAX_ACTIVATIONS = 10_000

ACCEPT, HEAD, REQUEST = "accept", "head", "request"
"""The moments at which faults apply: a connection is accepted, a request's head is complete, a request is complete."""
_QUEUE_MOMENTS = {name: kind.queue_moment for name, kind in ON_INSTANCES.items() if kind.queue_moment}
"""The faults of queues, each with the moment at which it applies."""


@frozen
class Activation:
    """One application of a fault.

    Attributes:
        at: Seconds since the epoch.
        fault: Name of the fault.
        type: Type of the fault.
        service: Name of the service; for a discovery request of a group, the names of its services, joined with commas.
        instance: Id of the instance; empty for a discovery request.
    """

    at: float
    fault: str
    type: str
    service: str
    instance: str


class _Active:
    """An active fault with its counters, and its own rng, so that other faults do not change its activations."""

    def __init__(self, fault: Fault, now: float, rng: Random) -> None:
        self.fault = fault
        self.since = now
        self.moment = _moment(fault)
        self.seen = 0
        self.activations = 0
        self._rng = rng

    def has_ended(self, now: float) -> bool:
        fault = self.fault
        too_often = fault.times is not None and self.activations >= fault.times
        return too_often or (fault.duration_s is not None and now >= self.since + fault.duration_s)

    def is_drawn(self) -> bool:
        self.seen += 1
        if self.seen <= self.fault.skip or self._rng.random() >= self.fault.probability:
            return False
        self.activations += 1
        return True


def _moment(fault: Fault) -> str:
    if fault.type == "reset_peer" and fault.get("at") in (ACCEPT, HEAD):
        return str(fault.get("at"))
    if fault.type in _QUEUE_MOMENTS:
        return _QUEUE_MOMENTS[fault.type]
    # Connections to a port that does not listen are refused by the kernel, so they cannot be counted or drawn. A
    # `refuse` with a limit or a probability is therefore an RST immediately after the accept.
    return ACCEPT if fault.type == "refuse" else REQUEST


class FaultRegistry:
    """The active faults.

    Args:
        seconds: Clock, in seconds.
        rng: Random source from which the rng of each fault is seeded.

    Attributes:
        activations: The last `MAX_ACTIVATIONS` activations.
        on_change: Called when faults are added or removed.
        on_activation: Called with each `Activation`.
    """

    def __init__(self, seconds: Callable[[], float], rng: Random) -> None:
        self._seconds = seconds
        self._rng = rng
        self._active: dict[str, _Active] = {}
        self._made = 0
        self.activations: deque[Activation] = deque(maxlen=MAX_ACTIVATIONS)
        self.on_change: list[Callable[[], None]] = []
        self.on_activation: list[Callable[[Activation], None]] = []

    def add(self, fault: Fault) -> Fault:
        """Add a fault; an active fault of the same name is replaced.

        Returns:
            The fault, with a generated name if it had none.
        """
        now = self._seconds()
        self._active = {name: active for name, active in self._active.items() if not active.has_ended(now)}
        if len(self._active) >= MAX_FAULTS and fault.name not in self._active:
            raise FaultError(f"$: there are {MAX_FAULTS} faults already; delete some")
        if not fault.name:
            fault = fault.named(self._new_name(fault.type))
        self._active.pop(fault.name, None)
        self._active[fault.name] = _Active(fault, now, Random(self._rng.getrandbits(64)))
        self._changed()
        return fault

    def remove(self, name: str) -> bool:
        """Remove a fault; return whether there was a fault of that name."""
        found = self._active.pop(name, None) is not None
        self._changed()
        return found

    def clear(self) -> None:
        """Remove all faults, and clear the log of activations."""
        self._active.clear()
        self._made = 0
        self.activations.clear()
        self._changed()

    def __iter__(self) -> Iterator[Fault]:
        """Iterate over the active faults, in the order in which they were added."""
        now = self._seconds()
        return iter([active.fault for active in self._active.values() if not active.has_ended(now)])

    @property
    def strikes(self) -> deque[Activation]:
        """Deprecated name of `activations`."""
        warnings.warn("FaultRegistry.strikes is deprecated: use activations", DeprecationWarning, stacklevel=2)
        return self.activations

    @property
    def is_quiet(self) -> bool:
        """Whether there is no fault; a fault that has ended counts until `add`, `remove` or `clear` removes it."""
        return not self._active

    def get(self, name: str) -> Fault | None:
        """Return the active fault of that name; `None` if there is none."""
        return next((fault for fault in self if fault.name == name), None)

    def activation_count(self, name: str) -> int:
        """Return the number of activations of a fault."""
        return self._active[name].activations

    def on_instance(
        self,
        service: str,
        instance: str,
        zone: str = "",
        *,
        moment: str = REQUEST,
        takes: Callable[[Fault], bool] | None = None,
    ) -> list[Fault]:
        """Draw the faults that apply to an instance at a moment.

        Args:
            service: Name of the instance's service.
            instance: Id of the instance.
            zone: Zone of the instance; empty for none.
            moment: `ACCEPT`, `HEAD`, `REQUEST`, or a moment of a queue service (`fault_kinds`).
            takes: Returns whether a fault has an effect at this moment; other faults are not drawn. `None` to draw all.
        """
        if not self._active:
            return []

        def matches(fault: Fault) -> bool:
            return fault.target.matches(service, instance, zone) and (takes is None or takes(fault))

        return self._activate(moment, matches, service, instance)

    def on_discovery(self, *services: str) -> list[Fault]:
        """Draw the faults that apply to a discovery request; for a group, `services` are all of its services."""
        if not self._active:
            return []
        places = ("", *services)
        return self._activate(
            REQUEST, lambda fault: fault.target.discovery and fault.target.service in places, ",".join(services), ""
        )

    def refuses(self, service: str, instance: str, zone: str = "") -> bool:
        """Return whether an instance refuses all new connections."""
        return any(
            fault.type == "refuse" and fault.is_always and fault.target.matches(service, instance, zone)
            for fault in self
        )

    def _activate(self, moment: str, matches: Callable[[Fault], bool], service: str, instance: str) -> list[Fault]:
        now = self._seconds()
        found = [
            active.fault
            for active in list(self._active.values())
            if active.moment == moment and matches(active.fault) and not active.has_ended(now) and active.is_drawn()
        ]
        for fault in found:
            activation = Activation(now, fault.name, fault.type, service, instance)
            self.activations.append(activation)
            for tell in self.on_activation:
                tell(activation)
        return found

    def _new_name(self, type_: str) -> str:
        while True:
            self._made += 1
            name = f"{type_}-{self._made}"
            if name not in self._active:
                return name

    def _changed(self) -> None:
        for tell in self.on_change:
            tell()
