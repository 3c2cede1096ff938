"""Admin operations on faults: the fault types, the active faults, and their activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.admin import components, schema_parts, schemas, views
from simulator.admin.operations.fleet import describe
from simulator.admin.routing import LIMIT, Asked, Operation, Parameter, Problem
from simulator.fault_kinds import ON_DISCOVERY, ON_INSTANCES
from simulator.faults import Fault, FaultError
from simulator.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from simulator.fault_kinds import FaultKind
    from simulator.simulator import Simulator

_FAULTS = "/v1/faults"
_FAULT = f"{_FAULTS}/{{name}}"
_TOTAL = "Number of stored activations that match, regardless of `limit`"
_ACTIVATION_FIELDS = (
    LIMIT,
    *(Parameter(name, f"Only activations with this {name}") for name in ("fault", "type", "service", "instance")),
)


class FaultOperations:
    """The operations on faults."""

    def __init__(self, world: Simulator) -> None:
        self._world = world

    def table(self) -> tuple[Operation, ...]:
        """Return the operations, as rows of the admin API's table."""
        fault = schema_parts.ref("Fault")
        return (
            Operation(
                "GET", _FAULTS, self._faults, "List the active faults", schema_parts.collection("faults", "Fault")
            ),
            # The body is not validated against the schema: `Fault` gives better error messages than a `oneOf`.
            Operation(
                "POST",
                _FAULTS,
                self._add,
                "Add a fault; an active fault of the same name is replaced",
                fault,
                takes=schemas.NEW_FAULT,
                status=201,
                is_checked=False,
            ),
            Operation("DELETE", _FAULTS, self._clear, "Remove all faults", status=204),
            Operation(
                "GET", _FAULT, lambda asked: views.fault(self._world, self._fault(asked)), "Return a fault", fault
            ),
            Operation("DELETE", _FAULT, self._remove, "Remove a fault", status=204),
            Operation(
                "GET",
                "/v1/fault-types",
                self._types,
                "List the fault types with their attributes",
                schema_parts.collection("fault_types", "FaultType"),
            ),
            Operation(
                "GET",
                "/v1/activations",
                self._activations,
                "List the newest activations of faults, on instances and on discovery, oldest first",
                schema_parts.collection("activations", "Activation", total=schema_parts.whole(_TOTAL)),
                query=_ACTIVATION_FIELDS,
            ),
            Operation(
                "GET",
                "/v1/strikes",
                self._strikes,
                "Deprecated: /v1/activations",
                schema_parts.collection("strikes", "Activation", total=schema_parts.whole(_TOTAL)),
                query=_ACTIVATION_FIELDS,
            ),
        )

    def _activations(self, asked: Asked) -> Any:
        wanted = {name: asked.query[name] for name in ("fault", "type", "service", "instance") if asked.query[name]}
        limit = asked.query["limit"]
        found = [
            views.activation(self._world, activation)
            for activation in self._world.faults.activations
            if all(getattr(activation, name) == value for name, value in wanted.items())
        ]
        return {"activations": found[-limit:] if limit else [], "total": len(found)}

    def _strikes(self, asked: Asked) -> Any:
        found = self._activations(asked)
        return {"strikes": found["activations"], "total": found["total"]}

    def _faults(self, _: Asked) -> Any:
        return {"faults": [views.fault(self._world, fault) for fault in self._world.faults]}

    def _add(self, asked: Asked) -> Any:
        try:
            fault = Fault.from_json(asked.body)
            self._check(fault)
            fault = self._world.faults.add(fault)
        except FaultError as error:
            raise Problem(422, str(error)) from None
        return self._world.settled().addCallback(lambda _: views.fault(self._world, fault))

    def _check(self, fault: Fault) -> None:
        """Validate the name and the target of a fault against the present services, which `Fault` cannot do."""
        if self._world.mask(fault.name) != fault.name:
            # The journal and the API mask tokens in names, so the displayed name would differ from the real name.
            raise FaultError("$.name: must not contain a service's token")
        target = fault.target
        if target.service and target.service not in self._world.services:
            raise FaultError(
                f"$.target.service: no service {target.service!r}; there are {shortened(self._world.services)}"
            )
        if target.instance and target.instance not in self._world.services[target.service].instances:
            where = describe(self._world.services[target.service])
            raise FaultError(f"$.target.instance: no instance {target.instance!r} in {where}")
        if target.zone and target.zone not in (zones := self._world.services[target.service].spec.zones):
            raise FaultError(
                f"$.target.zone: no zone {target.zone!r} in service {target.service!r}; there are {shortened(zones)}"
            )

    def _remove(self, asked: Asked) -> Deferred[None]:
        self._world.faults.remove(self._fault(asked).name)
        return self._world.settled().addCallback(lambda _: None)

    def _clear(self, _: Asked) -> Deferred[None]:
        self._world.faults.clear()
        return self._world.settled().addCallback(lambda _: None)

    def _fault(self, asked: Asked) -> Fault:
        name = asked.names["name"]
        shown = (fault for fault in self._world.faults if self._world.mask(fault.name) == name)
        fault = self._world.faults.get(name) or next(shown, None)
        if fault is None:
            there = shortened(self._world.mask(fault.name) for fault in self._world.faults)
            raise Problem(404, f"no fault {name!r}; there are {there}")
        return fault

    def _types(self, _: Asked) -> Any:
        return {"fault_types": [*_kinds("instances", ON_INSTANCES), *_kinds("discovery", ON_DISCOVERY)]}


def _kinds(where: str, kinds: Mapping[str, FaultKind]) -> list[dict[str, Any]]:
    return [
        {
            "type": name,
            "on": where,
            "says": kind.says,
            "attributes": [components.attribute_json(attribute) for attribute in kind.attributes.values()],
        }
        for name, kind in kinds.items()
    ]
