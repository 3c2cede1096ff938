"""The control plane: discovery over both paths, VIPServer, and the gateway; a region's endpoint without the fleet."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from twisted.internet.defer import Deferred

from simulator.gateway import forward
from simulator.http1 import HANG, Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.faults import Fault
    from simulator.fleet import Service
    from simulator.http1 import Answer, Request
    from simulator.simulator import Simulator

UPSTREAMS = ("/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/", "/api/v1/servicediscovery/upstreams/")
_PREDICT = "/api/predict/"
_BAD_ROWS: tuple[Any, ...] = (
    None,
    "172.16.0.1:50000",
    {},
    {"ip": "172.16.0.1"},
    {"ip": "172.16.0.1", "port": "50000", "weight": 100},
    {"ip": "172.16.0.1", "port": 0, "weight": 100},
    {"ip": "172.16.0.1", "port": 50000, "weight": -1},
    {"ip": "172.16.0.1", "port": 50000, "weight": "many"},
    {"ip": "", "port": 50000, "weight": 100},
    {"ip": None, "port": 50000, "weight": 100},
)


class ControlPlane:
    """Answers what is asked at the endpoint.

    Attributes:
        requests: Discovery requests, by what answered: a fault's type, `ok`, or `unknown_service`.
    """

    def __init__(self, world: Simulator) -> None:
        self._world = world
        self._stale: dict[str, list[dict[str, Any]]] = {}
        self.requests: Counter[str] = Counter()

    def handle(self, request: Request) -> Answer | Deferred[Answer]:
        """Answer a request at the endpoint."""
        # The official SDK, given an endpoint with a slash at its end, asks for //api/v1/…
        path = "/" + unquote(request.path).lstrip("/")
        for prefix in UPSTREAMS:
            if path.startswith(prefix):
                return self._discover(request, path.removeprefix(prefix), _upstreams)
        if path == "/vipserver/serverlist":
            return Response(200, f"{self._world.authority}\n".encode(), "text/plain")
        if path == "/vipserver/api/srvIPXT":
            domain = parse_qs(request.query).get("dom", [""])[0]
            return self._discover(request, domain, _vipserver)
        if path.startswith(_PREDICT):
            return self._predict(request, path.removeprefix(_PREDICT))
        return Response(404, b"404 page not found\n", "text/plain")

    def find(self, name: str) -> Service | None:
        """The service that is meant: by its name, by the first segment of a group's, or by `group.service`."""
        services = self._world.services
        if name in services:
            return services[name]
        for service in services.values():
            if name in (service.name.partition("/")[0], service.name.replace("/", ".")):
                return service
        return None

    def remember(self, fault: Fault) -> None:
        """A `stale` fault begins: keep the lists as they are."""
        if fault.type == "stale":
            self._stale[fault.name] = [_row(i) for s in self._world.services.values() for i in s.listed()]

    # -- discovery

    def _discover(self, request: Request, name: str, render: Any) -> Answer | Deferred[Answer]:
        service = self.find(name)
        faults = self._world.faults.on_discovery(service.name if service else name)
        if request.method != "GET":
            return Response(405, b"method not allowed\n", "text/plain")
        delay_s, rng = 0.0, self._world.stream("latency")
        for fault in faults:
            if fault.type == "latency":
                delay_s += max(0.0, fault.get("latency") + rng.uniform(-1, 1) * fault.get("jitter")) / 1000
        ending = next((fault for fault in faults if fault.type != "latency"), None)
        if delay_s > 0:
            waiting: Deferred[Answer] = Deferred(lambda _: timer.cancel())
            timer = self._world.reactor.callLater(
                delay_s, lambda: waiting.callback(self._reply(request, service, ending, render))
            )
            return waiting.addErrback(lambda _: HANG)
        return self._reply(request, service, ending, render)

    def _reply(self, request: Request, service: Service | None, fault: Fault | None, render: Any) -> Answer:
        if fault is None:
            self.requests["ok" if service else "unknown_service"] += 1
            if service is None:
                return Response(404, b'{"message": "no such service"}', "application/json")
            return render(service.name, [_row(instance) for instance in service.listed()])  # type: ignore[no-any-return]
        self.requests[fault.type] += 1
        if fault.type in ("timeout", "unreachable"):
            return self._silence(request, fault)
        if fault.type == "http_status":
            return Response(fault.get("code"), fault.get("body").encode(), "text/plain")
        if fault.type == "garbage":
            return Response(200, fault.get("body").encode(), "text/html")
        return render(service.name if service else "", self._lie(service, fault))  # type: ignore[no-any-return]

    def _silence(self, request: Request, fault: Fault) -> Answer:
        connection = request.connection
        if fault.type == "unreachable":
            connection.reset()
        elif fault.get("timeout"):
            self._world.reactor.callLater(
                fault.get("timeout") / 1000,
                lambda: connection.close() if connection in connection.server.connections else None,
            )
        return HANG

    def _lie(self, service: Service | None, fault: Fault) -> list[Any]:
        rows = [_row(instance) for instance in service.listed()] if service else []
        if fault.type == "stale":
            name = service.name if service else ""
            return [row for row in self._stale.get(fault.name, []) if row["service"] == name]
        if fault.type == "zero_weights":
            return [{**row, "weight": 0} for row in rows]
        if fault.type == "bad_rows":
            return [*_BAD_ROWS, *rows]
        return []

    # -- the gateway

    def _predict(self, request: Request, rest: str) -> Answer | Deferred[Answer]:
        named = [s for s in self._world.services.values() if rest == s.name or rest.startswith(f"{s.name}/")]
        if not named:
            return Response(404, b"no such service\n", "text/plain")
        service = max(named, key=lambda found: len(found.name))
        return forward(self._world.reactor, request, service.listed(), self._world.stream("gateway"))


def _row(instance: Any) -> dict[str, Any]:
    return {
        "app": instance.service.name.replace("_", "-").replace("/", "-"),
        "service": instance.service.name,
        "ip": instance.ip,
        "port": instance.port,
        "weight": instance.weight,
    }


def _upstreams(name: str, rows: Iterable[Any]) -> Response:
    return _json({"correlative": [name], "endpoints": {"items": list(rows)}})


def _vipserver(name: str, rows: Iterable[Any]) -> Response:
    hosts = [{**row, "valid": True} if isinstance(row, dict) else row for row in rows]
    return _json({"dom": name, "hosts": hosts})


def _json(value: Any) -> Response:
    return Response(200, json.dumps(value).encode(), "application/json")
