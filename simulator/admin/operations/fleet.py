"""Admin operations on services and instances: existence, state, and registration with discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import succeed
from twisted.internet.error import CannotListenError

from simulator.admin import schema_parts, schemas, views
from simulator.admin.routing import Asked, Operation, Parameter, Problem
from simulator.fleet import ServiceSpec, SpecError
from simulator.instance import State
from simulator.processors import ProcessorError
from simulator.wording import shortened

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from simulator.fleet import Service
    from simulator.instance import SimulatedInstance
    from simulator.simulator import Simulator

_SERVICES = "/v1/services"
_SERVICE = f"{_SERVICES}/{{service}}"
_INSTANCES = f"{_SERVICE}/instances"
_INSTANCE = f"{_INSTANCES}/{{instance}}"

_GRACE = Parameter(
    "grace_s",
    "Seconds after which the instance stops at the latest; it leaves the list first and finishes accepted requests",
    {"type": "integer", "minimum": 0, "maximum": 3600},
)


class FleetOperations:
    """The operations on services and instances."""

    def __init__(self, world: Simulator) -> None:
        self._world = world

    def table(self) -> tuple[Operation, ...]:
        """Return the operations, as rows of the admin API's table."""
        service, instance = schema_parts.ref("Service"), schema_parts.ref("Instance")
        return (
            Operation(
                "GET", _SERVICES, self._services, "List the services", schema_parts.collection("services", "Service")
            ),
            Operation(
                "POST",
                _SERVICES,
                self._add_service,
                "Start another service",
                service,
                takes=schemas.NEW_SERVICE,
                status=201,
                problems=(409,),
            ),
            Operation("GET", _SERVICE, self._one_service, "Return a service", service),
            Operation(
                "PATCH",
                _SERVICE,
                self._patch_service,
                "Change the mode of the gateway, until the next reset",
                service,
                takes=schemas.PATCH_SERVICE,
            ),
            Operation("DELETE", _SERVICE, self._remove_service, "Stop and remove a service", status=204),
            Operation(
                "GET",
                _INSTANCES,
                self._instances,
                "List the instances of a service",
                schema_parts.collection("instances", "Instance"),
            ),
            Operation(
                "POST",
                _INSTANCES,
                self._add,
                "Start another instance",
                instance,
                takes=schemas.NEW_INSTANCE,
                status=201,
                problems=(409,),
            ),
            Operation(
                "GET", _INSTANCE, lambda asked: _view(self._instance(asked), asked), "Return an instance", instance
            ),
            Operation(
                "PATCH",
                _INSTANCE,
                self._patch,
                "Change the weight, state or registration of an instance",
                instance,
                takes=schemas.PATCH_INSTANCE,
                problems=(409,),
            ),
            Operation(
                "DELETE",
                _INSTANCE,
                self._remove,
                "Stop and remove an instance: immediately, or with `grace_s` as EAS scales in",
                query=(_GRACE,),
                status=204,
            ),
        )

    def _services(self, asked: Asked) -> Any:
        return {
            "services": [views.service(service, asked.request.connection) for service in self._world.services.values()]
        }

    def _one_service(self, asked: Asked) -> Any:
        return views.service(self._service(asked), asked.request.connection)

    def _add_service(self, asked: Asked) -> Any:
        if asked.body["name"] in self._world.services:
            raise Problem(409, f"$.name: there is a service {asked.body['name']!r} already")
        try:
            service = self._world.add_service(ServiceSpec(**asked.body))
        except (SpecError, ProcessorError) as error:
            raise Problem(422, f"$: {error}") from None
        except CannotListenError as error:
            raise _taken(error) from None
        return self._world.settled().addCallback(lambda _: views.service(service, asked.request.connection))

    def _patch_service(self, asked: Asked) -> Any:
        service = self._service(asked)
        service.gateway = asked.body["gateway"]
        return views.service(service, asked.request.connection)

    def _remove_service(self, asked: Asked) -> Deferred[None]:
        return self._world.remove_service(self._service(asked).name).addCallback(lambda _: None)

    def _instances(self, asked: Asked) -> Any:
        return {"instances": [_view(instance, asked) for instance in self._service(asked).instances.values()]}

    def _add(self, asked: Asked) -> Any:
        try:
            instance = self._service(asked).add_instance(**asked.body)
        except SpecError as error:
            raise Problem(422, f"$: {error}") from None
        except CannotListenError as error:
            raise _taken(error) from None
        return instance.apply_faults().addCallback(lambda _: _view(instance, asked))

    def _patch(self, asked: Asked) -> Any:
        instance, wanted = self._instance(asked), asked.body
        changed: Deferred[None] = succeed(None)
        if "state" in wanted:
            try:
                changed = instance.set_state(State(wanted["state"]))
            except CannotListenError as error:
                raise _taken(error) from None
        instance.weight = wanted.get("weight", instance.weight)
        instance.registered = wanted.get("registered", instance.registered)
        return changed.addCallback(lambda _: _view(instance, asked))

    def _remove(self, asked: Asked) -> Deferred[None]:
        instance, grace_s = self._instance(asked), asked.query["grace_s"]
        if grace_s is not None:
            return instance.service.terminate(instance.id, grace_s)
        return instance.service.remove_instance(instance.id).addCallback(lambda _: None)

    def _service(self, asked: Asked) -> Service:
        return find_service(self._world, asked.names["service"])

    def _instance(self, asked: Asked) -> SimulatedInstance:
        service = self._service(asked)
        instance = service.instances.get(asked.names["instance"])
        if instance is None:
            raise Problem(404, f"no instance {asked.names['instance']!r} in {describe(service)}")
        return instance


def _taken(error: CannotListenError) -> Problem:
    return Problem(409, f"the instance's port {error.port} is taken: {error.socketError}")


def _view(instance: SimulatedInstance, asked: Asked) -> Any:
    return views.instance(instance, asked.request.connection)


def describe(service: Service) -> str:
    """Describe a service and the ids of its instances, for the error about an unknown instance."""
    return f"service {service.name!r}; there are {shortened(service.instances)}"


def find_service(world: Simulator, name: str) -> Service:
    """Return the service of that name, or raise a `Problem` with status 404."""
    service = world.services.get(name)
    if service is None:
        raise Problem(404, f"no service {name!r}; there are {shortened(world.services)}")
    return service
