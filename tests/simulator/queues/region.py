"""A simulated region with one queue service, and raw connections to it in virtual time."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from simulator import Fault, ServiceSpec, Target
from tests.simulator.region import Region, Wire

if TYPE_CHECKING:
    from simulator.queues.queue import Queue
    from simulator.queues.store import QueueStore

TOKEN = "t0ken"
PATH = "/api/predict/qservice"
PROTOBUF = "application/vnd.google.protobuf"
IDENTITY = {"X-EAS-QueueService-Redis-Uid": "u1", "X-EAS-QueueService-Redis-Gid": "g1"}


class QueueRegion(Region):
    """A region whose service `qservice` is a queue service.

    Args:
        instances: Number of instances.
        has_workers: Whether instances take frames from the input queue.
        options: Fields of the service.
    """

    def __init__(self, instances: int = 2, *, has_workers: bool = False, **options: Any) -> None:
        spec = ServiceSpec("qservice", instances, token=TOKEN, queue_service=True, queue_workers=has_workers, **options)
        super().__init__(spec)
        assert self.service.queues is not None
        self.queues = self.service.queues
        numbers = count(1)
        for queue in self.queues.queues:  # the ids of the recorded answers
            queue.store._make_request_id = lambda: f"req-{next(numbers)}"

    @property
    def input(self) -> QueueStore:
        return self.queues.input.store

    @property
    def sink(self) -> Queue:
        return self.queues.sink

    @property
    def gateway_port(self) -> int:
        return int(self.world.url.rpartition(":")[2])

    def send(
        self,
        method: str,
        query: str = "",
        body: bytes = b"",
        *,
        below: str = "",
        headers: dict[str, str] | None = None,
        instance: int = 0,
        port: int = 0,
        wait_s: float = 0.05,
    ) -> Wire:
        """Send one request on a new connection, with the token and the identity unless `headers` says otherwise."""
        given = {"Authorization": TOKEN, **IDENTITY} | (headers or {})
        lines = [f"{method} {PATH}{below}{'?' if query else ''}{query} HTTP/1.1", "Host: x"]
        lines += [f"{name}: {value}" for name, value in given.items() if value]
        lines += [f"Content-Length: {len(body)}"] if body or method in ("POST", "PUT") else []
        wire = self.connect(port or list(self.service.instances.values())[instance].port)
        wire.send("\r\n".join([*lines, "", ""]).encode() + body)
        self.wait(wait_s)
        return wire

    def put(self, *bodies: bytes, below: str = "", **tags: str) -> list[int]:
        """Put frames and return their indexes."""
        query = "&".join(f"{name}={quote(value)}" for name, value in tags.items())
        wires = [self.send("POST", query, body, below=below) for body in bodies]
        assert [wire.status for wire in wires] == [200] * len(bodies)
        return [int(wire.body) for wire in wires]

    def queue_fault(self, type_: str, *, times: int | None = None, skip: int = 0, **attributes: Any) -> None:
        """Add a fault on all instances."""
        self.world.faults.add(Fault(type_, Target("qservice"), attributes, "f", times=times, skip=skip))
