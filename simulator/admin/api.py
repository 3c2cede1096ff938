"""The admin API: a table of operations, and the access check. A change has taken effect when its response is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from simulator.admin import openapi
from simulator.admin.events import Hub
from simulator.admin.operations.faults import FaultOperations
from simulator.admin.operations.fleet import FleetOperations
from simulator.admin.operations.queues import QueueOperations
from simulator.admin.operations.stubs import StubOperations
from simulator.admin.operations.traffic import TrafficOperations
from simulator.admin.operations.whole import WholeOperations
from simulator.admin.routing import Problem, problem_response, route

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from simulator.http1 import Answer, ReceivedRequest
    from simulator.simulator import Simulator


class AdminApi:
    """The admin API of one simulator.

    Attributes:
        operations: The table of operations.
        hub: Sends events to the open event streams.
    """

    def __init__(self, world: Simulator) -> None:
        self._world = world
        self.hub = Hub(world)
        self.operations = (
            *WholeOperations(world, self.describe).table(),
            *FleetOperations(world).table(),
            *FaultOperations(world).table(),
            *StubOperations(world).table(),
            *QueueOperations(world).table(),
            *TrafficOperations(world, self.hub).table(),
        )

    def describe(self) -> dict[str, Any]:
        """Build the OpenAPI document."""
        return openapi.document(self.operations)

    def handle(self, request: ReceivedRequest) -> Answer | Deferred[Answer]:
        """Answer a request whose path is `/_eas` or begins with `/_eas/`."""
        host = request.headers.get("host", "")
        if not self._world.advertised.is_ours(host, request.connection):
            return problem_response(
                Problem(403, f"the Host header must name this machine, got {host[:100]!r}"), self._world.mask
            )
        path = request.path.removeprefix(openapi.ROOT) or "/"
        return route(self.operations, request, path, parse_qsl(request.query, keep_blank_values=True), self._world.mask)
