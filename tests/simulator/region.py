"""A simulator on a virtual clock, with raw connections to it whose times are exact to the millisecond."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.protocol import ClientFactory, Protocol

from simulator import Fault, ServiceSpec, Simulator, Target
from simulator.virtual.network.network import Network
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.network.virtual_time import Scheduler
from tests.simulator.raw import request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.instance import SimulatedInstance

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
DISCOVERY = "/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/"


class Wire(Protocol):
    """A raw connection. It records the received bytes, the times of arrival, and how the connection ended.

    Attributes:
        received: All received bytes.
        segments: Number of segments received.
        at_s: Time of the last segment, in seconds of the clock.
        end: Class name of the reason for the end, or "" if the connection is open.
    """

    def __init__(self, seconds: Any) -> None:
        self._seconds = seconds
        self._chunks: list[bytes] = []
        self.segments = 0
        self.at_s = 0.0
        self.end = ""

    def dataReceived(self, data: bytes) -> None:
        self._chunks.append(data)
        self.segments += 1
        self.at_s = self._seconds()

    def connectionLost(self, reason: Any = None) -> None:
        self.end = reason.type.__name__
        self.ended_at_s = self._seconds()

    def send(self, data: bytes) -> Self:
        self.transport.write(data)  # type: ignore[union-attr]
        return self

    @property
    def received(self) -> bytes:
        """Return all received bytes. The chunks are joined only here: joining after each chunk would copy gigabytes."""
        self._chunks = [b"".join(self._chunks)]
        return self._chunks[0]

    @property
    def status(self) -> int:
        return int(self.received.split(b" ")[1])

    @property
    def headers(self) -> Mapping[str, str]:
        lines = self.received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]


class _Connecting(ClientFactory):
    noisy = False

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def buildProtocol(self, addr: Any) -> Wire:
        return self.wire

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.wire.end = reason.type.__name__


class Region:
    """A simulated region with one service or more; `service` is the first."""

    def __init__(self, *specs: ServiceSpec, seed: int = 1, **options: Any) -> None:
        self.scheduler = Scheduler(seed)
        self.network = Network(self.scheduler)
        self.reactor = VirtualReactor(self.network, CLIENT)
        services = specs or (ServiceSpec("echo", **options),)
        self.world = Simulator(VirtualReactor(self.network, SERVER), seed=seed, host=SERVER, services=services)
        self.world.start()
        self.service = self.world.services[services[0].name]

    @property
    def instance(self) -> SimulatedInstance:
        return next(iter(self.service.instances.values()))

    def wait(self, seconds: float) -> None:
        self.scheduler.run_for(seconds)

    def connect(self, port: int = 0) -> Wire:
        wire = Wire(self.scheduler.seconds)
        self.reactor.connectTCP(SERVER, port or self.instance.port, _Connecting(wire))
        self.wait(0.01)
        return wire

    def ask(self, body: bytes = b"x", *, service: str = "", path: str = "", port: int = 0) -> Wire:
        """Send a prediction request on a new connection."""
        return self.connect(port).send(request(body, service or self.service.name, path=path))

    def get(self, target: str) -> Wire:
        """Send a GET request to the endpoint, and return its connection."""
        port = int(self.world.url.rpartition(":")[2])
        wire = self.connect(port).send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.wait(0.01)
        return wire

    def discover(self, service: str) -> Any:
        """Return the rows of a discovery reply for a service."""
        return json.loads(self.get(DISCOVERY + service).body)["endpoints"]["items"]

    def fault(self, type_: str, *, on: str = "", **attributes: Any) -> Fault:
        target = Target(self.service.name, on) if on or type_ == "slow" else Target(discovery=True)
        return self.world.faults.add(Fault(type_, target, attributes))

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Return instance and status of each row in the journal."""
        return [(row.instance, row.status) for row in self.world.journal.rows]

    def close(self) -> None:
        """Stop the simulator, and assert that nothing is scheduled afterwards."""
        self.world.stop()
        self.wait(1.0)
        assert not self.scheduler.pending
        assert not self.scheduler.errors
        assert not self.network.transports
