"""Admin operations on the queues of a service: list and clear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.admin import schema_parts, views
from simulator.admin.operations.fleet import find_service
from simulator.admin.routing import Asked, Operation

if TYPE_CHECKING:
    from simulator.simulator import Simulator

_QUEUES = "/v1/services/{service}/queues"


class QueueOperations:
    """The operations on queues."""

    def __init__(self, world: Simulator) -> None:
        self._world = world

    def table(self) -> tuple[Operation, ...]:
        """Return the operations, as rows of the admin API's table."""
        rows = schema_parts.collection("queues", "Queue")
        return (
            Operation("GET", _QUEUES, self._list, "List the queues of a service, with groups and consumers", rows),
            Operation("DELETE", _QUEUES, self._clear, "Remove all frames and groups of a service's queues", status=204),
        )

    def _list(self, asked: Asked) -> Any:
        service = find_service(self._world, asked.names["service"])
        found = service.queues.queues if service.queues is not None else ()
        return {"queues": [views.queue(self._world, queue) for queue in found]}

    def _clear(self, asked: Asked) -> None:
        queues = find_service(self._world, asked.names["service"]).queues
        if queues is not None:
            queues.clear()
