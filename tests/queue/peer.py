"""A queue client with instances in memory, and the server side of its connections."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from attrs import define
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, RejectData, Request

from eas_tw import ClientConfig, Instance, QueueClient
from eas_tw.body.schema import message
from tests.net.calling import Result, response, says
from tests.net.fleet import PuppetReactor
from tests.net.wire import Wire

if TYPE_CHECKING:
    from eas_tw.secret import TokenSource

ATTRIBUTES = {"meta.state": "Normal", "meta.header.priority": "X-EAS-QueueService-Priority", "stream.lastEntry": "3"}
PROTOBUF = b"Content-Type: application/vnd.google.protobuf"


def proto_of(index: int, data: bytes = b"", **tags: str) -> Any:
    return message("eas_tw.queue.DataFrameProto")(index=index, data=data, tags=tags)


def frame_bytes(index: int, data: bytes = b"", request_id: str = "") -> bytes:
    tags = {"requestId": request_id} if request_id else {}
    return bytes(proto_of(index, data, **tags).SerializeToString())


@define
class Asked:
    """A request that the client has sent on a connection."""

    wire: Wire
    head: str
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.head.split(" ", 2)[1]

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in found.items()}

    def answer(self, body: bytes = b"OK", status: int = 200, *headers: bytes) -> None:
        says(self.wire, response(status, body, *headers))


class QueueHarness:
    """A queue client with `n` instances, whose connections are in memory."""

    def __init__(
        self,
        n: int = 2,
        *,
        attributes: dict[str, str] | None = ATTRIBUTES,
        token: TokenSource = "t0ken",
        **settings: Any,
    ) -> None:
        self.reactor = PuppetReactor()
        self.attributes = attributes
        rows = [Instance(f"10.0.0.{i}", 80) for i in range(1, n + 1)]
        config = ClientConfig(**{"seed": 1, **settings})
        self.client = QueueClient(
            "", "svc", token=token, user="u1", group="g1", instances=rows, reactor=self.reactor, config=config
        )
        self.client.init()
        self.events: list[Any] = []
        self.client.listen(self.events.append)

    def run(self, deferred: Any) -> Result:
        return Result(deferred)

    def accept_all(self) -> None:
        for dial in list(self.reactor.dials):
            dial.accept()

    def asked(self) -> Asked:
        """Accept pending connections, respond to a request for the attributes, and return the next other request."""
        for _ in range(4):
            self.reactor.advance(0)
            self.accept_all()
            found = self._next()
            if found is None:
                continue
            if found.query.get("_attrs_") and self.attributes is not None:
                attributes, self.attributes = self.attributes, None
                found.answer(json.dumps(attributes).encode(), 200, b"Content-Type: application/json")
                continue
            return found
        raise AssertionError("the client has sent nothing")

    def _next(self) -> Asked | None:
        for wire in self.reactor.wires:
            if wire.is_open and wire.value() and not wire.value().startswith(b"\x88"):
                head, _, body = wire.take().partition(b"\r\n\r\n")
                return Asked(wire, head.decode(), body)
        return None

    def learn(self) -> None:
        """Make the client request the attributes of the queue, and respond."""
        attributes, self.attributes = self.attributes or ATTRIBUTES, None
        learning = Result(self.client.attributes())
        self.asked().answer(json.dumps(attributes).encode())
        assert learning.value == attributes

    def upgraded(self, status: int = 101, body: bytes = b"") -> Service:
        """Respond to the upgrade of the next watch, and return the server side of that watch."""
        asked = self.asked()
        assert "_watch_" in asked.query, asked.head
        return Service(asked, status, body)

    def assert_clean(self) -> None:
        """Close the client, and assert that no connection, timer or queued request is left."""
        closed = Result(self.client.close())
        for _ in range(3):
            self.reactor.advance(2.0)
        assert closed.fired == [None]
        assert not self.reactor.dials
        assert not [wire for wire in self.reactor.wires if wire.is_open]
        assert not self.reactor.getDelayedCalls()


class Service:
    """Server side of a watch over WebSocket."""

    def __init__(self, asked: Asked, status: int = 101, body: bytes = b"") -> None:
        self.asked = asked
        self.wire = asked.wire
        self.server = WSConnection(ConnectionType.SERVER)
        self.server.receive_data(f"{asked.head}\r\n\r\n".encode())
        (self.request,) = [event for event in self.server.events() if isinstance(event, Request)]
        if status == 101:
            self._write(AcceptConnection())
        else:
            self._write(
                RejectConnection(status_code=status, headers=[(b"content-length", b"%d" % len(body))], has_body=True)
            )
            self._write(RejectData(data=body))

    def send(self, *indexes: int, data: bytes = b"x", request_id: str = "") -> None:
        for index in indexes:
            self._write(BytesMessage(frame_bytes(index, data, request_id)))

    def send_together(self, *frames: bytes) -> None:
        """Send frames as messages of one TCP segment."""
        self.wire.protocol.dataReceived(b"".join(bytes(self.server.send(BytesMessage(data))) for data in frames))

    def close(self, code: int) -> None:
        self._write(CloseConnection(code=code))

    def received(self) -> list[Any]:
        """Return the events of the bytes that the client has sent since the previous call."""
        data = self.wire.take()
        if data:
            self.server.receive_data(data)
        return list(self.server.events())

    def pong(self) -> int:
        """Respond to the client's pings, and return their number."""
        pings = [event for event in self.received() if isinstance(event, Ping)]
        for ping in pings:
            self._write(ping.response())
        return len(pings)

    def _write(self, event: Any) -> None:
        if self.wire.is_open:
            self.wire.protocol.dataReceived(self.server.send(event))
