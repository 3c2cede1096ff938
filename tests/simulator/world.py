"""A simulator without a network: a clock, recorded ports, and requests that are passed to the admin API."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport

from simulator.fleet import ServiceSpec
from simulator.http1 import ReceivedRequest, Response
from simulator.journal import Row
from simulator.simulator import Simulator

SERVICES = (ServiceSpec("echo", 2, token="s3cret"), ServiceSpec("group/rank", 1))


@define(eq=False)
class Listener:
    """A client of the event stream, in memory."""

    transport: StringTransport = field(factory=StringTransport)
    answer: Any = None

    def events(self) -> list[tuple[str, str, Any]]:
        """Return the events since the previous call, as (event, id, data)."""
        text = self.transport.value().decode()
        self.transport.clear()
        blocks = [
            block.splitlines() for block in text.partition("\r\n\r\n")[2 if "HTTP/1.1" in text else 0].split("\n\n")
        ]
        told = [[line.partition(": ")[2] for line in block] for block in blocks if len(block) == 3]
        return [(event, number, json.loads(data)) for event, number, data in told]


class World:
    """A simulator without traffic."""

    def __init__(self, services: Any = SERVICES) -> None:
        self.clock = MemoryReactorClock()
        self.simulator = Simulator(self.clock, services=services, seed=7)
        self.simulator.start()

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Call an operation, and return status and decoded body."""
        response = self.response(method, target, body, **headers)
        is_json = response.content_type.endswith("json")
        return response.status, json.loads(response.body) if is_json else response.body.decode()

    def response(self, method: str, target: str, body: Any = None, **headers: str) -> Response:
        """Call an operation, and return its response."""
        given = {"host": "127.0.0.1:8780", "content-type": "application/json", **headers}
        data = b"" if body is None else json.dumps(body).encode()
        connection: Any = Listener()
        found = self.simulator.admin.handle(ReceivedRequest(method, f"/_eas{target}", given, data, connection, True))
        if isinstance(found, Deferred):
            results: list[Any] = []
            found.addBoth(results.append)
            (found,) = results
        assert isinstance(found, Response), found
        return found

    def discover(self, service: str) -> Any:
        """Return the discovery reply for a service."""
        connection: Any = Listener()
        path = f"/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/{service}"
        return self.simulator.control_plane.handle(ReceivedRequest("GET", path, {}, b"", connection, True))

    def listen(self, query: str = "", last: str = "") -> Listener:
        """Open the event stream, and return its client."""
        listener: Any = Listener()
        headers = {"host": "localhost"} | ({"last-event-id": last} if last else {})
        request = ReceivedRequest("GET", f"/_eas/v1/events{query}", headers, b"", listener, True)
        listener.answer = self.simulator.admin.handle(request)
        return listener

    def row(self, instance: str = "echo-0", status: int = 200, **more: Any) -> None:
        """Record a request to an instance in the journal."""
        values = {"service": "echo", "method": "POST", "path": "/api/predict/echo", "fault": ""}
        numbers = {"bytes_in": 2, "bytes_out": 3, "elapsed_s": 0.002}
        self.simulator.journal.write(
            Row(at=self.clock.seconds(), instance=instance, status=status, **{**values, **numbers, **more})
        )
