"""Changes that operators make to a service: instances come, go, and get other weights.

Each public method carries out the kind of step that it is named after.
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
    """Acts on services.

    Args:
        service: The service whose changes have no targets; others change through their instances.
        call_later: Calls a function after a number of virtual seconds.
    """

    def __init__(self, service: Service, call_later: Callable[..., object]) -> None:
        self._service = service
        self._call_later = call_later

    def add(self, _: PlannedFault, __: Any) -> None:
        """Add an instance."""
        self._service.add_instance()

    def remove(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> None:
        """Remove instances, unless no other would get calls."""
        if self._others(instances):
            for instance in instances:
                self._retire(instance)

    def replace(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> None:
        """Add a new instance for each one, which is removed."""
        for instance in instances:
            instance.service.add_instance(weight=instance.weight or 100)
            self._retire(instance)

    def replace_all(self, step: PlannedFault, _: Any) -> None:
        """Replace all instances of the service."""
        self.replace(step, list(self._service.instances.values()))

    def _retire(self, instance: SimulatedInstance) -> None:
        """Remove an instance from the list; drain and stop it later."""
        instance.registered = False
        later, service = self._call_later, instance.service
        later(_DRAINS_S, lambda: instance.id in service.instances and instance.drain())
        later(2 * _DRAINS_S, lambda: instance.id in service.instances and service.remove_instance(instance.id))

    def reweigh(self, step: PlannedFault, instances: Sequence[SimulatedInstance]) -> None:
        """Give instances another weight; 0 only if another instance gets calls."""
        weight = step.with_["weight"]
        if weight or self._others(instances):
            for instance in instances:
                instance.weight = weight

    def _others(self, instances: Sequence[SimulatedInstance]) -> bool:
        """Whether other instances would still get calls; an operator leaves at least one."""
        service = instances[0].service if instances else self._service
        return any(other.weight > 0 for other in service.listed() if other not in instances)
