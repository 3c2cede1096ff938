"""The simulator: services, control plane, admin API, faults and journal on one reactor.

Its only external inputs are the reactor and a seed, so the same code runs on real sockets and on a virtual network.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Self

from twisted.application.service import Service as TwistedService
from twisted.internet.defer import DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from simulator.admin.api import AdminApi
from simulator.advertising import Advertised, bracketed
from simulator.captures import Capture, Message
from simulator.control_plane import ControlPlane
from simulator.fault_registry import FaultRegistry
from simulator.fleet import ResetError, Service
from simulator.gateway import ANSWER_TIMEOUT_S
from simulator.http1 import Server
from simulator.journal import Journal
from simulator.masking import TokenMask
from simulator.ports import Address
from simulator.service_spec import DEFAULT_SERVICES, ServiceSpec, SpecError, check_new_name
from simulator.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from simulator.faults import Fault
    from simulator.http1 import Answer, ReceivedRequest, ServerConnection
    from simulator.instance import SimulatedInstance
    from simulator.messages import Response

_log = Logger(namespace="simulator")
ADMIN = "/_eas"
_MAX_PORT = 65_535


class Simulator(TwistedService):
    """A simulated EAS. It is an `IService`, which an `Application` can own, and a context manager for `async with`.

    Args:
        reactor: Reactor that provides network and clock.
        seed: Seed of all random draws.
        host: Address on which everything listens.
        port: Port of control plane and admin API; 0 for any that is free.
        services: Services to simulate.
        spread_ips: Whether each instance has its own loopback address and the documented port 50000.
        advertise: Host name or address that discovery gives for every instance. Empty for the address on which the
            instance listens, or, if that is a wildcard, the address to which the request was sent.
        instance_port: Port of the first instance; the others get the following ports. 0 for any free ports.

    Attributes:
        journal: Requests that reached instances.
        faults: Active faults.
        services: Running services by name.
        began: Time at which the simulator began to listen, in seconds of the reactor's clock.
        resets: Number of resets.
        advertised: The host that is given to clients.
        mask: Masks the tokens of all services in a displayed text.
        gateway_timeout_s: Seconds that the gateway waits for the head of an instance's response before it answers 504,
            and between two pieces of the body.
        nonce: Random text that identifies this simulator in its ready file and its state; empty if not set.
        on_reset: Called by `reset`, after all faults and rows have been removed.
        on_capture: Called with the service, a captured request and its response; not called without a response.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        services: Iterable[ServiceSpec] = DEFAULT_SERVICES,
        spread_ips: bool = False,
        advertise: str = "",
        instance_port: int = 0,
    ) -> None:
        if spread_ips and (advertise or instance_port):
            raise SpecError("spread_ips gives each instance its own address; it excludes advertise and instance_port")

        self.reactor = reactor
        self.seed = seed
        self.host = host
        self.spread_ips = spread_ips
        self.advertised = Advertised(host, advertise)
        self._instance_port = instance_port
        self._instance_ports: dict[str, int] = {}
        self.began = reactor.seconds()
        self.resets = 0
        self.nonce = ""
        self.gateway_timeout_s = ANSWER_TIMEOUT_S
        self._streams: dict[str, Random] = {}
        self.journal = Journal()
        self.faults = FaultRegistry(reactor.seconds, self.stream("faults"))
        self.faults.on_change.append(self._faults_changed)
        self.mask = TokenMask()
        self.services: dict[str, Service] = {}
        for spec in services:
            check_new_name(spec.name, self.services)
            self.services[spec.name] = Service(self, spec, len(self.services))
            self.mask.add(spec.name, spec.token)
        self._numbered = len(self.services)
        self.control_plane = ControlPlane(self)
        self.admin = AdminApi(self)
        self._address = Address(reactor, host, port)
        self._server = Server(self._handle, reactor)
        self._settling: list[Deferred[Any]] = []
        self._known_faults: dict[str, Fault] = {}
        self._timers = Timers(reactor)
        self.on_reset: list[Callable[[], None]] = []
        self.on_capture: list[Callable[[Service, ReceivedRequest, Response], None]] = []

    def stream(self, name: str) -> Random:
        """Return the rng of one purpose, which is seeded from the simulator's seed and the name."""
        if name not in self._streams:
            self._streams[name] = Random(f"{self.seed}/{name}")
        return self._streams[name]

    @property
    def authority(self) -> str:
        """Host and port of the endpoint, as a client on this machine can reach it."""
        return self.authority_to(None)

    def authority_to(self, connection: ServerConnection | None) -> str:
        """Return host and port of the endpoint, as the client of a connection can reach it."""
        return f"{bracketed(self.advertised.to(connection))}:{self._address.port}"

    @property
    def url(self) -> str:
        """The endpoint's URL, with which a client is configured."""
        return f"http://{self.authority}"

    def ip_to(self, ip: str, connection: ServerConnection | None = None) -> str:
        """Return the address of an instance that listens on `ip`, as the client of a connection can reach it.

        Without a connection, the address is for a client on this machine.
        """
        return self.advertised.to(connection) if ip == self.host else ip

    def port_of(self, instance_id: str) -> int:
        """Return the port of an instance, the same whenever it is created again; 0 for any port.

        Raises:
            SpecError: All ports above `instance_port` are in use.
        """
        if not self._instance_port:
            return 0
        port = self._instance_ports.setdefault(instance_id, self._instance_port + len(self._instance_ports))
        if port > _MAX_PORT:
            raise SpecError(f"no port is left for instance {instance_id}: instance_port is {self._instance_port}")
        return port

    @property
    def admin_url(self) -> str:
        """The URL of the admin API."""
        return self.url + ADMIN

    @property
    def connections(self) -> list[Any]:
        """The open connections of the endpoint."""
        return list(self._server.connections)

    def instance(self, instance_id: str) -> SimulatedInstance:
        """Return the instance with an id, of any service.

        Raises:
            KeyError: There is no such instance.
        """
        for service in self.services.values():
            if instance_id in service.instances:
                return service.instances[instance_id]
        raise KeyError(instance_id)

    @property
    def uptime_s(self) -> float:
        """Seconds since the simulator began to listen."""
        return float(self.reactor.seconds() - self.began)

    def add_service(self, spec: ServiceSpec) -> Service:
        """Start another service; a reset does not remove it.

        Raises:
            SpecError: There is a service of that name or with such ids, or no port is left for an instance.
            CannotListenError: A port is in use; then no instance of the service listens.
        """
        check_new_name(spec.name, self.services)
        service = Service(self, spec, self._numbered)
        self._numbered += 1
        try:
            service.start()
        except (CannotListenError, SpecError):
            service.stop()
            raise
        self.services[spec.name] = service
        self.mask.add(spec.name, spec.token)
        for instance in service.instances.values():
            self._settling.append(instance.apply_faults())
        return service

    def remove_service(self, name: str) -> Deferred[Any]:
        """Stop a service and remove its faults; the Deferred fires when its ports and connections are closed."""
        for fault in [fault for fault in self.faults if fault.target.service == name]:
            self.faults.remove(fault.name)
        self.mask.retire(name)
        return self.services.pop(name).stop()

    def startService(self) -> None:
        """Listen on all ports (`IService`)."""
        super().startService()  # type: ignore[no-untyped-call]
        self.start()

    def stopService(self) -> Deferred[Any]:
        """Stop everything (`IService`); the Deferred fires when every port and connection is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> Deferred[Simulator]:
        """Listen on all ports.

        Raises:
            CannotListenError: A port is in use; then no port listens.
        """
        self.began = self.reactor.seconds()
        self._address.listen(self._server)
        try:
            for service in self.services.values():
                service.start()
        except (CannotListenError, SpecError):
            self.stop()
            raise
        return succeed(self)

    def stop(self) -> Deferred[Any]:
        """Stop everything; the Deferred fires when every port and connection is closed."""
        self._timers.cancel()
        gone = DeferredList(
            [self._address.give_up(), self._server.when_empty(), *(s.stop() for s in self.services.values())]
        )
        self._server.reset_connections()
        return gone

    def reset(self, seed: int | None = None) -> Deferred[Any]:
        """Return to the initial state: instances as specified, no faults, an empty journal, freshly seeded rngs.

        Args:
            seed: New seed; `None` for the present one.

        Returns:
            A Deferred that fires when all ports listen. It fails with `ResetError` if instances cannot be started, for
            example because their ports are in use; then everything else is reset.
        """
        if seed is not None:
            self.seed = seed
        for name, rng in self._streams.items():
            rng.seed(f"{self.seed}/{name}")
        self.resets += 1
        self.faults.clear()
        self.journal.clear()
        self.control_plane.requests.clear()
        self.control_plane.replies.clear()
        done = DeferredList([service.reset() for service in self.services.values()], consumeErrors=True)
        for tell in self.on_reset:
            tell()
        return done.addCallback(_check_reset)

    def captured(
        self, service: Service, number: int, request: ReceivedRequest, response: Response | None, size: int
    ) -> None:
        """Store the headers and bodies of a row of the journal, for a service that enables capturing.

        Args:
            service: The service.
            number: Number of the row.
            request: The request.
            response: The response, perhaps with only the beginning of its body; `None` if none was sent.
            size: Size of the whole body of the response, in bytes.
        """
        limit = service.spec.capture_bytes or 0
        asked = Message(request.headers, request.body[:limit], len(request.body))
        answered = None
        if response is not None:
            headers = {name.lower(): value for name, value in response.headers.items()}
            headers |= {"content-type": response.content_type} if response.content_type else {}
            answered = Message(headers, response.body[:limit], max(size, len(response.body)))
            for listener in self.on_capture:
                listener(service, request, response)
        self.journal.captures.keep(number, Capture(asked, answered))

    def later(self, seconds: float, act: Callable[..., Any], *arguments: Any) -> None:
        """Call `act` after `seconds`, unless the simulator stops before that."""
        self._timers.later(seconds, act, *arguments)

    def settled(self) -> Deferred[Any]:
        """Return a Deferred that fires when every port listens or refuses as the active faults require."""
        waiting, self._settling = self._settling, []
        return DeferredList(waiting)

    def _faults_changed(self) -> None:
        new = [fault for fault in self.faults if self._known_faults.get(fault.name) is not fault]
        self._known_faults = {fault.name: fault for fault in self.faults}
        self.control_plane.forget(self._known_faults)
        for fault in new:
            self.control_plane.remember(fault)
            if fault.type == "refuse" and fault.duration_s is not None:
                self.later(fault.duration_s, self._faults_changed)
        for service in self.services.values():
            for instance in service.instances.values():
                applying = maybeDeferred(instance.apply_faults)
                applying.addErrback(_not_applied, instance.id)  # the faults of the other instances still apply
                self._settling.append(applying)

    def _handle(self, request: ReceivedRequest) -> Answer | Deferred[Answer]:
        if request.path == ADMIN or request.path.startswith(f"{ADMIN}/"):
            return self.admin.handle(request)
        return self.control_plane.handle(request)


def _not_applied(failure: Failure, instance_id: str) -> None:
    _log.failure("instance {instance} cannot listen or refuse as its faults require", failure, instance=instance_id)


def _check_reset(results: list[tuple[bool, Any]]) -> None:
    """Raise one `ResetError` for the failed resets of services."""
    failures = [result for is_done, result in results if not is_done]
    errors: dict[str, Exception] = {}
    for failure in failures:
        failure.trap(ResetError)
        errors |= failure.value.errors
    ResetError.raise_for(errors)
