"""Changes that operators make to a service: they add, remove and replace instances, and change weights.

Each public method carries out the fault kind of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.fleet import Service
    from simulator.instance import SimulatedInstance
    from simulator.virtual.plan import PlannedFault

_DRAINS_S = 2.0


class OperatorChanges:
    """Changes the instances of services.

    Args:
        service: The service that `add` and `replace_all` change; the other methods change the service of the instances.
        call_later: Calls a function after a number of virtual seconds.
    """

    def __init__(self, service: Service, call_later: Callable[..., object]) -> None:
        self._service = service
        self._call_later = call_later

    def add(self, _: PlannedFault, __: Any) -> None:
        """Add an instance."""
        self._service.add_instance()

    def remove(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> None:
        """Remove instances, if another instance still gets calls."""
        if self._others(instances):
            for instance in instances:
                self._retire(instance)

    def replace(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> None:
        """Replace each instance by a new instance of the same weight; of weight 100 if the weight is 0."""
        for instance in instances:
            instance.service.add_instance(weight=instance.weight or 100)
            self._retire(instance)

    def replace_all(self, step: PlannedFault, _: Any) -> None:
        """Replace all instances of the service."""
        self.replace(step, list(self._service.instances.values()))

    def _retire(self, instance: SimulatedInstance) -> None:
        """Remove an instance from the list; drain it after 2 s, and stop it after 4 s."""
        instance.registered = False
        later, service = self._call_later, instance.service
        later(_DRAINS_S, lambda: instance.id in service.instances and instance.drain())
        later(2 * _DRAINS_S, lambda: instance.id in service.instances and service.remove_instance(instance.id))

    def reweigh(self, step: PlannedFault, instances: Sequence[SimulatedInstance]) -> None:
        """Change the weight of instances; a weight of 0 only if another instance still gets calls."""
        weight = step.with_["weight"]
        if weight or self._others(instances):
            for instance in instances:
                instance.weight = weight

    def _others(self, instances: Sequence[SimulatedInstance]) -> bool:
        """Whether other instances of the service get calls; an operator leaves at least one such instance."""
        service = instances[0].service if instances else self._service
        return any(other.weight > 0 for other in service.listed() if other not in instances)
