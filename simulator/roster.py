"""The instances that exist at each time of a scenario, derived from its steps alone.

A step with an instance that does not exist at the time of the step is therefore reported when the scenario is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.service_spec import ServiceSpec
    from simulator.timeline import TimelineStep


class Roster:
    """The instances of each service, updated step by step.

    Attributes:
        services: Ids of the instances that exist now, by service.
        ever: Ids of the instances that have existed, by service.
    """

    def __init__(self, specs: Sequence[ServiceSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._numbered = {spec.name: spec.instances for spec in specs}
        self.services = {
            spec.name: {_id(spec.name, number): number for number in range(spec.instances)} for spec in specs
        }
        self.ever = {name: dict(found) for name, found in self.services.items()}

    def take(self, step: TimelineStep) -> None:
        """Apply a step of the timeline to the instances."""
        if step.do == "add":
            self._add(step.service, step.count)
        elif step.do == "replace":
            old = list(self.services[step.service])
            self._add(step.service, len(old))
            self._remove(step.service, old)
        elif step.do in ("terminate", "remove"):
            found = self.services[step.service]
            meant = step.instances or [
                name for name, number in found.items() if step.zone in ("", self._specs[step.service].zone(number))
            ]
            self._remove(step.service, list(meant))

    def zones(self, service: str) -> Sequence[str]:
        """Return the zones of a service."""
        return self._specs[service].zones

    def says(self, service: str) -> str:
        """Describe the existing instances of a service, for error messages."""
        return shortened(self.services[service])

    def _add(self, service: str, count: int) -> None:
        first = self._numbered[service]
        self._numbered[service] = first + count
        added = {_id(service, number): number for number in range(first, first + count)}
        self.services[service] |= added
        self.ever[service] |= added

    def _remove(self, service: str, names: Sequence[str]) -> None:
        for name in names:
            self.services[service].pop(name, None)


def _id(service: str, number: int) -> str:
    return f"{service.replace('/', '.')}-{number}"
