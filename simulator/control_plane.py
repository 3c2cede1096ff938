"""The control plane: discovery over its two paths, VIPServer, and the gateway."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from twisted.internet.defer import Deferred

from simulator.delivery import Ending, Wire
from simulator.discovery_faults import LIST_FAULTS, DiscoveryFaults
from simulator.gateway import forward
from simulator.http1 import HANG, Response
from simulator.replies import Replies
from simulator.response_faults import apply_response_faults, delay_s, is_response_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from simulator.faults import Fault
    from simulator.fleet import Service
    from simulator.http1 import Answer, ReceivedRequest
    from simulator.instance import SimulatedInstance
    from simulator.simulator import Simulator

    Renderer = Callable[[Sequence[str], Sequence[Any], Sequence[Any]], Response]

UPSTREAMS = ("/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/", "/api/v1/servicediscovery/upstreams/")
VIPSERVER_LIST, VIPSERVER_HOSTS = "/vipserver/serverlist", "/vipserver/api/srvIPXT"
_PREDICT = "/api/predict/"
_ENDINGS = ("unreachable", "timeout", "http_status", "garbage")
"""Fault types that replace the whole reply, in the order of precedence."""
_SILENT = ("unreachable", "timeout")


class ControlPlane:
    """The HTTP handler of the endpoint.

    Attributes:
        requests: Number of discovery requests by result: a fault's type, `ok`, or `unknown_service`.
        replies: The last reply of each service.
    """

    def __init__(self, world: Simulator) -> None:
        self._world = world
        self._list_faults = DiscoveryFaults(world.reactor.seconds, world.stream("lies"))
        self._rng = world.stream("discovery")
        self.requests: Counter[str] = Counter()
        self.replies = Replies()

    def handle(self, request: ReceivedRequest) -> Answer | Deferred[Answer]:
        """Answer a request at the endpoint."""
        if request.target == "*":  # OPTIONS of the server as a whole (RFC 9110 §9.3.7)
            return Response(200, b"", "", {"Allow": "GET, HEAD, POST, OPTIONS"})
        # The official SDK requests //api/v1/… if its endpoint ends in a slash.
        path = "/" + unquote(request.path).lstrip("/")
        for prefix in UPSTREAMS:
            if path.startswith(prefix):
                return self._discover(request, path.removeprefix(prefix).strip("/"), _upstreams)
        if path == VIPSERVER_LIST:
            return Response(200, f"{self._world.authority_to(request.connection)}\n".encode(), "text/plain")
        if path == VIPSERVER_HOSTS:
            domain = parse_qs(request.query).get("dom", [""])[0]
            return self._discover(request, domain, _vipserver)
        if path.startswith(_PREDICT):
            return self._predict(request, path)
        # People often open the endpoint itself in a browser. No client requests this path.
        hint = b"The page of the simulator is at /_eas/\n" if path == "/" else b""
        return Response(404, b"404 page not found\n" + hint, "text/plain")

    def find(self, name: str) -> list[Service]:
        """Find services by name: one by `service`, `group/service` or `group.service`, or all services of a group."""
        services = self._world.services
        if name in services:
            return [services[name]]
        dotted = [service for service in services.values() if service.name.replace("/", ".") == name]
        return dotted or [service for service in services.values() if name and service.group == name]

    def remember(self, fault: Fault) -> None:
        """Initialise the state of a new fault: `stale` stores the present rows, `flapping` its start time."""
        self._list_faults.begin(fault, [_row(i) for service in self._world.services.values() for i in service.listed()])

    def forget(self, names: Collection[str]) -> None:
        """Discard the state of all faults except those with these names."""
        self._list_faults.forget(names)

    # -- discovery

    def _discover(self, request: ReceivedRequest, name: str, render: Renderer) -> Answer | Deferred[Answer]:
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"method not allowed\n", "text/plain", {"Allow": "GET, HEAD"})
        services = self.find(name)
        names = [service.name for service in services] or [name]
        faults = self._world.faults.on_discovery(*names)
        pause_s = sum(delay_s(faults, stream, self._rng) for stream in ("upstream", "downstream"))
        if pause_s <= 0:
            return self._reply(request, services, faults, render)
        waiting: Deferred[Answer] = Deferred(lambda _: timer.cancel())
        timer = self._world.reactor.callLater(
            pause_s, lambda: waiting.callback(self._reply(request, services, faults, render))
        )
        return waiting.addErrback(lambda _: HANG)

    def _reply(
        self, request: ReceivedRequest, services: Sequence[Service], faults: Sequence[Fault], render: Renderer
    ) -> Answer:
        """Build a discovery reply under faults.

        A fault that sends no response takes precedence over a fault that sends another response, and both over faults
        that change the list. Faults that change the list or delay the reply are combined.
        """
        ending = next((fault for type_ in _ENDINGS for fault in faults if fault.type == type_), None)
        list_faults = [fault for fault in faults if fault.type in LIST_FAULTS]
        changing = [fault for fault in faults if is_response_fault(fault)]
        told = next(iter([*([ending] if ending else []), *list_faults, *changing]), None)
        answer = told.type if told else "ok" if services else "unknown_service"
        self.requests[answer] += 1
        is_silent = ending is not None and ending.type in _SILENT
        if is_silent:
            response = None
        elif ending:
            response = self._status(ending)
        else:
            response = self._list(request, services, list_faults, faults, render)
        for service in services:
            self.replies.note(self._world.reactor.seconds(), service.name, request.target, answer, response)
        if response is None:
            return _silence(ending)
        return apply_response_faults(response, changing, self._rng, request) if changing else response

    def _status(self, fault: Fault) -> Response:
        if fault.type == "garbage":
            return Response(200, fault.get("body").encode(), "text/html")
        pause = fault.get("retry_after")
        headers = {} if pause is None else {"Retry-After": f"{pause:g}"}
        return Response(fault.get("code"), fault.get("body").encode(), "text/plain; charset=utf-8", headers)

    def _list(
        self,
        request: ReceivedRequest,
        services: Sequence[Service],
        list_faults: Sequence[Fault],
        faults: Sequence[Fault],
        render: Renderer,
    ) -> Response:
        if not services and not list_faults:
            return Response(404, b'{"message": "no such service"}', "application/json")
        names = [service.name for service in services]
        rows: list[Any] = [_row(instance) for service in services for instance in service.listed()]
        for fault in list_faults:
            rows = self._list_faults.tell(fault, names, rows)
        absent = [_row(i) for service in services for i in service.instances.values() if not i.registered]
        response = render(names, self._advertise(rows, request), self._advertise(absent, request))
        # Spaces before the last brace enlarge the document, which stays valid JSON.
        padding = sum(fault.get("bytes") for fault in faults if fault.type == "huge")
        return response._replace(body=response.body[:-1] + b" " * padding + b"}") if padding else response

    def _advertise(self, rows: Sequence[Any], request: ReceivedRequest) -> Sequence[Any]:
        """Replace the simulator's address in the rows by the host under which the requesting client reaches it."""
        host, ours = self._world.advertised.to(request.connection), self._world.host
        if host == ours:
            return rows
        return [{**row, "ip": host} if isinstance(row, dict) and row.get("ip") == ours else row for row in rows]

    # -- the gateway

    def _predict(self, request: ReceivedRequest, path: str) -> Answer | Deferred[Answer]:
        named = [service for service in self._world.services.values() if service.answers(path)]
        exact = [service for service in named if f"{path}/".startswith(f"{_PREDICT}{service.name}/")]
        if exact:
            named = [max(exact, key=lambda service: len(service.name))]
        if not named:
            return Response(404, b"no such service\n", "text/plain")
        instances = [instance for service in named for instance in service.listed()]
        world = self._world
        return forward(world.reactor, request, instances, world.stream("gateway"), world.gateway_timeout_s)


def _silence(fault: Fault | None) -> Answer:
    if fault is None or fault.type == "unreachable":
        return Wire((), Ending.RESET)
    after_s = fault.get("timeout") / 1000
    return Wire((), Ending.CLOSE, after_s) if after_s else HANG


def _row(instance: SimulatedInstance) -> dict[str, Any]:
    return {
        "app": instance.service.name.replace("_", "-").replace("/", "-"),
        "service": instance.service.name,
        "ip": instance.ip,
        "port": instance.port,
        "weight": instance.weight,
    }


def _upstreams(names: Sequence[str], rows: Sequence[Any], _: Sequence[Any]) -> Response:
    return _json({"correlative": list(names), "endpoints": {"items": list(rows)}})


def _vipserver(names: Sequence[str], rows: Sequence[Any], absent: Sequence[Any]) -> Response:
    """Build a VIPServer reply. It lists unregistered instances as well, as hosts that are not `valid`."""
    hosts = [{**row, "valid": True} if isinstance(row, dict) else row for row in rows]
    hosts += [{**row, "valid": False} for row in absent]
    return _json({"dom": ",".join(names), "hosts": hosts})


def _json(value: Any) -> Response:
    return Response(200, json.dumps(value).encode(), "application/json")
