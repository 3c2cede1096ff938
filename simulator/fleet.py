"""Services and their instances: who exists, and who is registered with discovery."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from twisted.internet.defer import Deferred, DeferredList

from simulator.instance import SimulatedInstance, State
from simulator.processors import Processor, find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.simulator import Simulator

_NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
MAX_INSTANCES = 10_000


class SpecError(ValueError):
    """A service that cannot be; the text says why."""


@frozen
class ServiceSpec:
    """A service to simulate.

    Attributes:
        name: `service` or `group/service`.
        instances: How many.
        weights: Of the first, second, … instance; 100 for those not named.
        token: What callers must know; empty for nothing.
        processor: A name `processors.find` knows, or a callable; empty for what suits the service.
    """

    name: str
    instances: int = 3
    weights: Sequence[float] = ()
    token: str = field(default="", repr=False)
    processor: str | Processor = ""

    def __attrs_post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError(f"service name must be letters, digits and ._- (and /), got {self.name!r}")
        if not isinstance(self.instances, int) or not 0 <= self.instances <= MAX_INSTANCES:
            raise SpecError(f"service {self.name}: instances must be from 0 to {MAX_INSTANCES}, got {self.instances!r}")
        if len(self.weights) > self.instances:
            raise SpecError(f"service {self.name}: {len(self.weights)} weights for {self.instances} instances")
        for weight in self.weights:
            check_weight(weight)


def check_weight(weight: Any) -> float:
    """`weight`, or a `SpecError`."""
    if isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight <= 2**31 - 1:
        return weight
    raise SpecError(f"weight must be a number ≥ 0, got {weight!r}")


class Service:
    """A service at work."""

    def __init__(self, world: Simulator, spec: ServiceSpec) -> None:
        self.world = world
        self.spec = spec
        self.name = spec.name
        self.token = spec.token
        self.processor: Processor = spec.processor if callable(spec.processor) else find(spec.processor, spec.name)
        self.instances: dict[str, SimulatedInstance] = {}
        self._numbered = 0

    def __repr__(self) -> str:
        return f"<service {self.name} instances={len(self.instances)}>"

    def start(self) -> None:
        """Start the instances of the specification."""
        for number in range(self.spec.instances):
            weight = self.spec.weights[number] if number < len(self.spec.weights) else 100
            self.add_instance(weight=weight)

    def add_instance(self, *, weight: float = 100, registered: bool = True) -> SimulatedInstance:
        """Start one more instance on a port of its own."""
        if len(self.instances) >= MAX_INSTANCES:
            raise SpecError(f"service {self.name} has {MAX_INSTANCES} instances already")
        instance_id = f"{self.name.replace('/', '.')}-{self._numbered}"
        instance = SimulatedInstance(self, instance_id, self.world.host, weight=check_weight(weight))
        instance.registered = registered
        instance.start()
        self._numbered += 1
        self.instances[instance_id] = instance
        return instance

    def remove_instance(self, instance_id: str) -> Deferred[Any]:
        """End an instance and its registration; fires when its port and connections are gone."""
        return self.instances.pop(instance_id).stop()

    def listed(self) -> list[SimulatedInstance]:
        """The instances discovery tells of."""
        return [instance for instance in self.instances.values() if instance.registered]

    def reset(self) -> Deferred[Any]:
        """Back to the specification: its instances run, registered, with their weights; others are gone."""
        waiting: list[Deferred[Any]] = []
        for number, instance in enumerate(list(self.instances.values())):
            if number >= self.spec.instances:
                waiting.append(self.remove_instance(instance.id))
                continue
            instance.weight = self.spec.weights[number] if number < len(self.spec.weights) else 100
            instance.registered = True
            waiting.append(instance.set_state(State.RUNNING))
        while len(self.instances) < self.spec.instances:
            self.add_instance()
        return DeferredList(waiting)

    def stop(self) -> Deferred[Any]:
        """End all instances; fires when everything is gone."""
        return DeferredList([instance.stop() for instance in self.instances.values()])
