"""A simulated region with one queue service, and raw connections to it on a `Clock`."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Pong

from eas_tw.body.schema import message
from simulator import Fault, ServiceSpec, Target
from tests.simulator.region import Region, Wire

if TYPE_CHECKING:
    from simulator.queues.queue import Queue
    from simulator.queues.store import QueueStore

TOKEN = "t0ken"
PATH = "/api/predict/qservice"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The example key of RFC 6455 §1.3."""
PROTOBUF = "application/vnd.google.protobuf"
IDENTITY = {"X-EAS-QueueService-Redis-Uid": "u1", "X-EAS-QueueService-Redis-Gid": "g1"}


class QueueRegion(Region):
    """A region with a queue service named `qservice`.

    Args:
        instances: Number of instances.
        has_workers: Whether instances take frames from the input queue.
        options: Further fields of the service.
    """

    def __init__(self, instances: int = 2, *, has_workers: bool = False, **options: Any) -> None:
        spec = ServiceSpec("qservice", instances, token=TOKEN, queue_service=True, queue_workers=has_workers, **options)
        super().__init__(spec)
        assert self.service.queues is not None
        self.queues = self.service.queues
        numbers = count(1)
        for queue in self.queues.queues:  # the request ids of the recorded responses
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
        """Send a request on a new connection, by default with the token and the identity headers."""
        given = {"Authorization": TOKEN, **IDENTITY} | (headers or {})
        lines = [f"{method} {PATH}{below}{'?' if query else ''}{query} HTTP/1.1", "Host: x"]
        lines += [f"{name}: {value}" for name, value in given.items() if value]
        lines += [f"Content-Length: {len(body)}"] if body or method in ("POST", "PUT") else []
        wire = self.connect(port or list(self.service.instances.values())[instance].port)
        wire.send("\r\n".join([*lines, "", ""]).encode() + body)
        self.wait(wait_s)
        return wire

    def put(self, *bodies: bytes, below: str = "", **tags: str) -> list[int]:
        """Put frames, and return their indexes."""
        query = "&".join(f"{name}={quote(value)}" for name, value in tags.items())
        wires = [self.send("POST", query, body, below=below) for body in bodies]
        assert [wire.status for wire in wires] == [200] * len(bodies)
        return [int(wire.body) for wire in wires]

    def queue_fault(self, type_: str, *, times: int | None = None, skip: int = 0, **attributes: Any) -> None:
        """Add a fault to all instances."""
        self.world.faults.add(Fault(type_, Target("qservice"), attributes, "f", times=times, skip=skip))

    def watch(self, query: str = "_index_=0&_window_=5", **options: Any) -> Socket:
        """Open a watch over WebSocket."""
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
            "Accept": PROTOBUF,
        }
        headers = upgrade | options.pop("headers", {})
        return Socket(self, self.send("GET", f"_watch_=true&{query}", headers=headers, **options))

    def commit(self, *indexes: int, user: str = "u1", group: str = "g1", below: str = "", more: str = "") -> None:
        """Commit frames, and assert that the response has status 200."""
        headers = {"X-EAS-QueueService-Redis-Uid": user, "X-EAS-QueueService-Redis-Gid": group}
        query = f"_indexes_={'%2C'.join(map(str, indexes))}{more}"
        assert self.send("PUT", query, below=below, headers=headers).status == 200


class Socket:
    """Client side of a WebSocket connection after the handshake."""

    def __init__(self, region: QueueRegion, wire: Wire) -> None:
        self._region = region
        self.wire = wire
        self._connection = Connection(ConnectionType.CLIENT)
        self._seen = 0
        self._events: list[Any] = []

    @property
    def events(self) -> list[Any]:
        """Return all received events, as wsproto parses them."""
        start = len(self.wire.received.partition(b"\r\n\r\n")[0]) + 4
        data = self.wire.body[self._seen :] if len(self.wire.received) >= start else b""
        self._seen += len(data)
        if data:
            self._connection.receive_data(data)
            self._events += self._connection.events()
        return self._events

    @property
    def messages(self) -> list[bytes]:
        """Return the complete messages that were received. wsproto reports parts of a message when they arrive."""
        messages, part = [], b""
        for event in self.events:
            if isinstance(event, BytesMessage):
                part += event.data
                if event.message_finished:
                    messages.append(part)
                    part = b""
        return messages

    @property
    def frames(self) -> list[Any]:
        """Return the received frames, in order."""
        frames = []
        for data in self.messages:
            frame = message("eas_tw.queue.DataFrameProto")()
            frame.ParseFromString(data)
            frames.append(frame)
        return frames

    @property
    def indexes(self) -> list[int]:
        return [frame.index for frame in self.frames]

    @property
    def closes(self) -> list[int]:
        return [event.code for event in self.events if isinstance(event, CloseConnection)]

    @property
    def pongs(self) -> list[bytes]:
        return [bytes(event.payload) for event in self.events if isinstance(event, Pong)]

    def send(self, event: Any) -> None:
        self.wire.send(self._connection.send(event))
        self._region.wait(0.05)

    def lose(self) -> None:
        """Close the TCP connection without a Close frame, as the Java and Python SDKs do."""
        self.wire.transport.abortConnection()  # type: ignore[union-attr]
        self._region.wait(0.05)
