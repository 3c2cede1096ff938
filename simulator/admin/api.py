"""The operations of the admin API. A write is in effect when its answer arrives; no answer contains a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from simulator.admin.routing import Asked, Operation, Problem, problem_response, route
from simulator.faults import Fault, FaultError
from simulator.fleet import SpecError, check_weight
from simulator.http1 import Response
from simulator.instance import State
from simulator.journal import Row

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from simulator.fleet import Service
    from simulator.http1 import Answer, Request
    from simulator.instance import SimulatedInstance
    from simulator.simulator import Simulator

_ROOT = "/_eas"
_INSTANCE_FIELDS = {"weight", "state", "registered"}
_ROW_FIELDS = [attribute.name for attribute in Row.__attrs_attrs__]


class AdminApi:
    """Looks at a simulator and changes it."""

    def __init__(self, world: Simulator) -> None:
        self._world = world
        self.operations = self._table()

    def handle(self, request: Request) -> Answer | Deferred[Answer]:
        """Answer a request below `/_eas`."""
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            return problem_response(403, f"the Host header must name this machine, got {host!r}")
        path = unquote(request.path).removeprefix(_ROOT) or "/"
        return route(self.operations, request, path, dict(parse_qsl(request.query)))

    def _table(self) -> tuple[Operation, ...]:
        instance = "/v1/services/{service}/instances/{instance}"
        return (
            Operation("GET", "/livez", lambda _: Response(200, b"ok\n", "text/plain"), "is the process alive"),
            Operation("GET", "/readyz", lambda _: Response(200, b"ok\n", "text/plain"), "does everything listen"),
            Operation("GET", "/v1/state", self._state, "everything at a glance"),
            Operation("POST", "/v1/reset", self._reset, "back to the beginning"),
            Operation("GET", "/v1/services", self._services, "all services"),
            Operation("GET", "/v1/services/{service}", self._service, "one service"),
            Operation("GET", "/v1/services/{service}/instances", self._instances, "a service's instances"),
            Operation("POST", "/v1/services/{service}/instances", self._add, "start one more instance", 201),
            Operation("GET", instance, lambda asked: _instance_json(self._instance(asked)), "one instance"),
            Operation("PATCH", instance, self._patch, "change weight, state or registration"),
            Operation("DELETE", instance, self._remove, "end an instance"),
            Operation("GET", "/v1/faults", self._faults, "the faults at work"),
            Operation("POST", "/v1/faults", self._add_fault, "put a fault to work", 201),
            Operation("DELETE", "/v1/faults", self._clear_faults, "end all faults"),
            Operation("GET", "/v1/faults/{name}", lambda asked: self._fault_json(self._fault(asked)), "one fault"),
            Operation("DELETE", "/v1/faults/{name}", self._remove_fault, "end a fault"),
            Operation("GET", "/v1/requests", self._requests, "the newest rows of the journal"),
            Operation("POST", "/v1/requests/count", self._count, "how many rows match"),
            Operation("DELETE", "/v1/requests", self._forget, "empty the journal"),
            Operation("GET", "/v1/connections", self._connections, "open connections"),
        )

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        return name in ("localhost", "127.0.0.1", "[::1]", self._world.host, f"[{self._world.host}]")

    # -- everything

    def _state(self, _: Asked) -> Any:
        world = self._world
        return {
            "seed": world.seed,
            "url": world.url,
            "services": [_service_json(service) for service in world.services.values()],
            "faults": [self._fault_json(fault) for fault in world.faults],
            "requests": {"total": world.journal.total, "by_instance": dict(world.journal.by_instance)},
            "discovery": {
                "requests": world.control_plane.requests.total(),
                "by_answer": dict(world.control_plane.requests),
            },
        }

    def _reset(self, asked: Asked) -> Any:
        options = _object(asked.body or {}, {"seed"})
        seed = options.get("seed")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise Problem(422, f"$.seed: expected a whole number, got {seed!r}")
        return self._world.reset(seed).addCallback(lambda _: {"seed": self._world.seed})

    # -- services and instances

    def _services(self, _: Asked) -> Any:
        return {"services": [_service_json(service) for service in self._world.services.values()]}

    def _service(self, asked: Asked) -> Any:
        return _service_json(self._named(asked))

    def _instances(self, asked: Asked) -> Any:
        return {"instances": [_instance_json(instance) for instance in self._named(asked).instances.values()]}

    def _add(self, asked: Asked) -> Any:
        options = _object(asked.body or {}, {"weight", "registered"})
        weight, registered = _weight(options.get("weight", 100)), _flag(options, "registered", default=True)
        try:
            instance = self._named(asked).add_instance(weight=weight, registered=registered)
        except SpecError as error:
            raise Problem(422, str(error)) from None
        return instance.apply_faults().addCallback(lambda _: _instance_json(instance))

    def _patch(self, asked: Asked) -> Any:
        instance = self._instance(asked)
        wanted = _object(asked.body, _INSTANCE_FIELDS)
        if not wanted:
            raise Problem(422, "$: nothing to change; give weight, state or registered")
        state = wanted.get("state", instance.state)
        if state not in tuple(State):
            raise Problem(422, f"$.state: expected one of {', '.join(State)}, got {state!r}")
        weight = _weight(wanted.get("weight", instance.weight))
        registered = _flag(wanted, "registered", default=instance.registered)
        # All checked; from here on nothing can fail half way.
        instance.weight, instance.registered = weight, registered
        return instance.set_state(State(state)).addCallback(lambda _: _instance_json(instance))

    def _remove(self, asked: Asked) -> Any:
        instance = self._instance(asked)
        return instance.service.remove_instance(instance.id).addCallback(lambda _: None)

    # -- faults

    def _faults(self, _: Asked) -> Any:
        return {"faults": [self._fault_json(fault) for fault in self._world.faults]}

    def _add_fault(self, asked: Asked) -> Any:
        try:
            fault = Fault.from_json(asked.body)
            self._check_target(fault)
            fault = self._world.faults.add(fault)
        except FaultError as error:
            raise Problem(422, str(error)) from None
        return self._world.settled().addCallback(lambda _: self._fault_json(fault))

    def _check_target(self, fault: Fault) -> None:
        target = fault.target
        if target.service and target.service not in self._world.services:
            raise FaultError(f"$.target.service: no service {target.service!r}")
        if target.instance and target.instance not in self._world.services[target.service].instances:
            raise FaultError(f"$.target.instance: no instance {target.instance!r} in service {target.service!r}")

    def _remove_fault(self, asked: Asked) -> Any:
        self._world.faults.remove(self._fault(asked).name)
        return self._world.settled().addCallback(lambda _: None)

    def _clear_faults(self, _: Asked) -> Any:
        self._world.faults.clear()
        return self._world.settled().addCallback(lambda _: None)

    def _fault(self, asked: Asked) -> Fault:
        fault = self._world.faults.get(asked.names["name"])
        if fault is None:
            raise Problem(404, f"no fault {asked.names['name']!r}")
        return fault

    def _fault_json(self, fault: Fault) -> dict[str, Any]:
        return {**fault.to_json(), "struck": self._world.faults.struck(fault.name)}

    # -- journal and connections

    def _requests(self, asked: Asked) -> Any:
        text = asked.query.get("limit", "100")
        if not text.isascii() or not text.isdigit():
            raise Problem(400, f"limit must be a whole number ≥ 0, got {text!r}")
        return {"requests": self._world.journal.last(int(text)), "total": self._world.journal.total}

    def _count(self, asked: Asked) -> Any:
        return {"count": self._world.journal.count(_object(asked.body or {}, set(_ROW_FIELDS)))}

    def _forget(self, _: Asked) -> None:
        self._world.journal.clear()

    def _connections(self, _: Asked) -> Any:
        found = [
            {"service": service.name, "instance": instance.id, "peer": connection.peer, "requests": connection.requests}
            for service in self._world.services.values()
            for instance in service.instances.values()
            for connection in instance.server.connections
        ]
        return {"connections": found}

    # -- names

    def _named(self, asked: Asked) -> Service:
        service = self._world.services.get(asked.names["service"])
        if service is None:
            raise Problem(404, f"no service {asked.names['service']!r}")
        return service

    def _instance(self, asked: Asked) -> SimulatedInstance:
        service = self._named(asked)
        instance = service.instances.get(asked.names["instance"])
        if instance is None:
            raise Problem(404, f"no instance {asked.names['instance']!r} in service {service.name!r}")
        return instance


def _service_json(service: Service) -> dict[str, Any]:
    return {
        "name": service.name,
        "has_token": bool(service.token),
        "instances": [_instance_json(instance) for instance in service.instances.values()],
    }


def _instance_json(instance: SimulatedInstance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "service": instance.service.name,
        "ip": instance.ip,
        "port": instance.port,
        "weight": instance.weight,
        "state": instance.state.value,
        "registered": instance.registered,
        "connections": len(instance.server.connections),
        "requests": instance.service.world.journal.by_instance[instance.id],
    }


def _object(value: Any, allowed: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem(422, f"$: expected an object, got {str(value)[:60]!r}")
    for name in value:
        if name not in allowed:
            raise Problem(422, f"$.{name}: unknown; known are {', '.join(sorted(allowed))}")
    return value


def _weight(value: Any) -> float:
    try:
        return check_weight(value)
    except SpecError as error:
        raise Problem(422, f"$.weight: {error}") from None


def _flag(options: dict[str, Any], name: str, *, default: bool) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise Problem(422, f"$.{name}: expected true or false, got {value!r}")
    return value
