"""A network in memory: who listens where, what is on its way, and what the weather does to it.

Verbs come in pairs: `blackhole` and `restore`, `set_latency` any time. Each direction of a connection is in order; its
delay is the network's, with jitter from a stream of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.python.failure import Failure
from zope.interface import implementer

from simulator.virtual.transport import VirtualTransport
from simulator.virtual.vtime import NS

if TYPE_CHECKING:
    from simulator.virtual.reactor import VirtualReactor
    from simulator.virtual.vtime import Scheduler

_FIRST_FREE_PORT = 40_000


class Network:
    """All hosts and what is between them.

    Args:
        scheduler: The world's clock.
        latency_s: One way.
        jitter_s: Up to so much more, drawn for each segment.
        segment_bytes: The most that arrives at once; 0 for no bound.
    """

    def __init__(
        self, scheduler: Scheduler, *, latency_s: float = 0.0002, jitter_s: float = 0.0, segment_bytes: int = 0
    ) -> None:
        self.scheduler = scheduler
        self._latency_s, self._jitter_s = latency_s, jitter_s
        self._segment_bytes = segment_bytes
        self._rng = scheduler.stream("network")
        self._ports: dict[tuple[str, int], VirtualPort] = {}
        self._next_port = _FIRST_FREE_PORT
        self._holes: dict[str, None] = {}
        self._due_ns: dict[VirtualTransport, int] = {}
        self.transports: dict[VirtualTransport, None] = {}

    # -- weather

    def set_latency(self, latency_s: float, jitter_s: float = 0.0) -> None:
        """One way, from now on."""
        self._latency_s, self._jitter_s = latency_s, jitter_s

    def set_segments(self, size_bytes: int) -> None:
        """The most that arrives at once, from now on; 0 for no bound."""
        self._segment_bytes = size_bytes

    def blackhole(self, ip: str) -> None:
        """What is sent to or from this host is lost, silently."""
        self.scheduler.log(f"blackhole {ip}")
        self._holes[ip] = None

    def restore(self, ip: str) -> None:
        """The host is there again; what was lost stays lost."""
        self.scheduler.log(f"restore {ip}")
        self._holes.pop(ip, None)

    # -- listening and connecting

    def listen(self, reactor: VirtualReactor, ip: str, port: int, factory: Any) -> VirtualPort:
        """Accept connections at an address; port 0 picks.

        Raises:
            CannotListenError: Somebody listens there.
        """
        if not port:
            port = self._next_port
            self._next_port += 1
        if (ip, port) in self._ports:
            raise error.CannotListenError(ip, port, OSError(98, "Address already in use"))
        listening = self._ports[ip, port] = VirtualPort(self, reactor, (ip, port), factory)
        factory.doStart()
        return listening

    def close_port(self, address: tuple[str, int]) -> None:
        """Accept no more connections there."""
        self._ports.pop(address, None)

    def dial(self, connector: VirtualConnector) -> None:
        """A SYN goes out."""
        if not self._is_lost(connector.here[0], connector.address[0]):
            self.scheduler.call_later(self._delay_s(), self._syn_arrives, connector)

    def _syn_arrives(self, connector: VirtualConnector) -> None:
        listening = self._ports.get(connector.address)
        if self._is_lost(connector.here[0], connector.address[0]):
            return
        if listening is None:
            self.scheduler.call_later(self._delay_s(), connector.refused)
            return
        near = VirtualTransport(self, connector.here, connector.address)
        far = VirtualTransport(self, connector.address, connector.here)
        near.peer, far.peer = far, near
        self.transports[far] = None
        protocol = listening.factory.buildProtocol(IPv4Address("TCP", *connector.here))
        due_ns = self._due(far)
        if protocol is None:
            far.abortConnection()
        else:
            far.protocol = protocol
            protocol.makeConnection(far)
        self.scheduler.call_at(due_ns, connector.established, near)

    # -- carrying

    def later(self, act: Any, *arguments: Any) -> None:
        """Let something happen now, but not inside whatever is happening."""
        self.scheduler.call_later(0.0, act, *arguments)

    def carry(self, sender: VirtualTransport, what: bytes | str) -> None:
        """Data, `fin` or `rst` goes to the other end, behind what went before."""
        peer = sender.peer
        if peer is None or self._is_lost(sender.here[0], sender.there[0]):
            return
        pieces = [what] if isinstance(what, str) or not self._segment_bytes else self._cut(what)
        for piece in pieces:
            self.scheduler.call_at(self._due(sender), self._deliver, peer, piece)

    def forget(self, transport: VirtualTransport) -> None:
        """An end is closed."""
        self.transports.pop(transport, None)

    def _deliver(self, to: VirtualTransport, what: bytes | str) -> None:
        if not self._is_lost(to.there[0], to.here[0]):
            size = len(what) if isinstance(what, bytes) else what
            self.scheduler.log(f"{to.there[0]}:{to.there[1]} > {to.here[0]}:{to.here[1]} {size}")
            to.arrive(what)

    def _cut(self, data: bytes) -> list[bytes | str]:
        return [data[at : at + self._segment_bytes] for at in range(0, len(data), self._segment_bytes)]

    def _due(self, sender: VirtualTransport) -> int:
        """When what is sent now arrives: after the delay, and never before what went before."""
        due_ns = self.scheduler.now_ns + round(self._delay_s() * NS)
        due_ns = max(due_ns, self._due_ns.get(sender, 0))
        self._due_ns[sender] = due_ns
        return due_ns

    def _delay_s(self) -> float:
        return self._latency_s + (self._rng.random() * self._jitter_s if self._jitter_s else 0.0)

    def _is_lost(self, a: str, b: str) -> bool:
        return a in self._holes or b in self._holes

    def ephemeral_port(self) -> int:
        """A port for the near end of a connection."""
        self._next_port += 1
        return self._next_port - 1


@implementer(IListeningPort)
class VirtualPort:
    """An address where connections are accepted."""

    def __init__(self, network: Network, reactor: VirtualReactor, address: tuple[str, int], factory: Any) -> None:
        self._network = network
        self._reactor = reactor
        self.address = address
        self.factory = factory
        self._is_open = True

    def startListening(self) -> None:  # noqa: N802
        """It does already (`IListeningPort`)."""

    def stopListening(self) -> Deferred[None]:  # noqa: N802
        """Accept no more; fires a turn later (`IListeningPort`)."""
        stopped: Deferred[None] = Deferred()
        if self._is_open:
            self._is_open = False
            self._network.close_port(self.address)
            self.factory.doStop()
        self._reactor.callLater(0, stopped.callback, None)
        return stopped

    def getHost(self) -> IPv4Address:  # noqa: N802
        """The address (`IListeningPort`)."""
        return IPv4Address("TCP", *self.address)


@implementer(IConnector)
class VirtualConnector:
    """A connection being opened, then open, as its factory sees it."""

    def __init__(
        self, network: Network, reactor: VirtualReactor, address: tuple[str, int], factory: Any, timeout_s: float
    ) -> None:
        self._network = network
        self._reactor = reactor
        self.address = address
        self.here = (reactor.ip, network.ephemeral_port())
        self._factory = factory
        self._timeout_s = timeout_s
        self._timer: Any = None
        self._transport: VirtualTransport | None = None
        self.state = "disconnected"

    def connect(self) -> None:
        """Begin to connect (`IConnector`)."""
        self.state = "connecting"
        self._factory.doStart()
        self._factory.startedConnecting(self)
        if self.state != "connecting":
            return
        self._timer = self._reactor.callLater(self._timeout_s, self._fail, error.TimeoutError())
        self._network.dial(self)

    def stopConnecting(self) -> None:  # noqa: N802
        """Give up (`IConnector`)."""
        if self.state != "connecting":
            raise error.NotConnectingError("we're not trying to connect")
        self._fail(error.UserError())

    def disconnect(self) -> None:
        """Close, or give up (`IConnector`)."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self.state == "connected" and self._transport is not None:
            self._transport.loseConnection()

    def getDestination(self) -> IPv4Address:  # noqa: N802
        """Where it goes (`IConnector`)."""
        return IPv4Address("TCP", *self.address)

    def refused(self) -> None:
        """Nobody listens there."""
        if self.state == "connecting":
            self._fail(error.ConnectionRefusedError())

    def established(self, transport: VirtualTransport) -> None:
        """The other end took the connection."""
        if self.state != "connecting":
            # Nobody wants it any more: what is sent to it is answered by a reset.
            transport.connected = False
            self._network.carry(transport, "rst")
            return
        self.state = "connected"
        self._timer.cancel()
        self._network.transports[transport] = None
        self._transport = transport
        protocol = self._factory.buildProtocol(self.getDestination())
        if protocol is None:
            transport.abortConnection()
            return
        transport.protocol = protocol
        transport.on_lost = self.lost
        protocol.makeConnection(transport)

    def lost(self, reason: Failure) -> None:
        """The connection is over."""
        self.state = "disconnected"
        self._factory.clientConnectionLost(self, reason)
        if self.state == "disconnected":
            self._factory.doStop()

    def _fail(self, why: Exception) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.state = "disconnected"
        self._factory.clientConnectionFailed(self, Failure(why))
        if self.state == "disconnected":
            self._factory.doStop()
