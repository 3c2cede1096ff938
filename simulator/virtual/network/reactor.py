"""A host's reactor on virtual time, with the parts of Twisted's interfaces that client and simulator use.

The code of Twisted's epoll reactor handles socket events; this module computes the events that epoll would report.
"""

from __future__ import annotations

from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.posixbase import _DisconnectSelectableMixin, _PollLikeMixin
from zope.interface import implementer

from simulator.virtual.network.fault_points import Failing
from simulator.virtual.network.names import Resolver
from simulator.virtual.network.transport import VirtualConnector, VirtualPort
from simulator.virtual.network.virtual_time import NEVER_NS, NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.virtual.checkers.work_per_turn import Meter
    from simulator.virtual.network.network import Network
    from simulator.virtual.network.sockets import VirtualSocket
    from simulator.virtual.network.virtual_time import Event

_TROUBLE = EPOLLHUP | EPOLLERR
# The events that are reported for a socket that is read or written; epoll reports HUP and ERR in both cases.
_READ = EPOLLIN | _TROUBLE
_WRITE = EPOLLOUT | _TROUBLE


class _Reading:
    """The set of sockets that are watched for reading; Twisted's code tests membership only."""

    def __contains__(self, socket: object) -> bool:
        return bool(socket.wanted & EPOLLIN)  # type: ignore[attr-defined]


@implementer(IReactorTime, IReactorTCP, IReactorPluggableNameResolver)
class VirtualReactor(_PollLikeMixin, _DisconnectSelectableMixin):
    """The reactor of one host.

    Args:
        network: The network of the host.
        ip: The host's address.

    Attributes:
        stalled_until_ns: Time until which no event of the host happens, in virtual nanoseconds, as if its program
            blocked or its machine were suspended.
        clock_offset_ns: Offset of the host's wall clock, in nanoseconds.
        written_after_loss: Number of writes by protocols to a transport after its connection was closed.
        wall_offset_s: Offset, in seconds, of the wall clock that programs read without the reactor.
        wall_set_s: Time of the last change of either clock, in virtual seconds.
        failing: The fault points of the host's process.
        meter: Counts the function calls of each turn; `None` for no count.
        on_protocol: Called with the protocol of each connection that the host opens; `None` for no call.
    """

    running = True
    _POLL_DISCONNECTED = _TROUBLE
    _POLL_IN = EPOLLIN
    _POLL_OUT = EPOLLOUT
    _reads = _Reading()

    def __init__(self, network: Network, ip: str) -> None:
        self.network = network
        self._scheduler = network.scheduler
        self.ip = ip
        self.nameResolver: Any = Resolver(network.names, self)
        self.stalled_until_ns = 0
        self.clock_offset_ns = 0
        self.written_after_loss = 0
        self.wall_offset_s = 0.0
        self.wall_set_s = 0.0
        self.failing = Failing(network.scheduler.stream(f"failing/{ip}"), lambda: self._scheduler.now_ns)
        self.meter: Meter | None = None
        self.on_protocol: Callable[[Any], None] | None = None

    # -- faults

    def stall(self, seconds: float) -> None:
        """Delay the events of the next `seconds` of this host until the end of that time."""
        self.stalled_until_ns = max(self.stalled_until_ns, self._scheduler.now_ns + round(seconds * NS))

    def kill(self) -> None:
        """Kill the host's process: its timers never fire, and the kernel closes its connections.

        Another process on the host needs another reactor, with the same address.
        """
        self._scheduler.drop(self)
        # Other deliveries to the process, such as an answer of the name server, are postponed forever.
        self.stalled_until_ns = NEVER_NS
        for socket in [socket for socket in self.network.sockets if socket.reactor is self]:
            socket.selectable, socket.wanted = None, 0
            socket.close()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back if negative. The timers follow this clock, so they fire early or late."""
        by_ns = round(seconds * NS)
        self.clock_offset_ns += by_ns
        self.wall_set_s = self._scheduler.elapsed()
        self._scheduler.shift(self, -by_ns)

    def set_wall_clock(self, by_s: float) -> None:
        """Set the wall clock that programs read without the reactor forward, or back if negative; timers ignore it."""
        self.wall_offset_s += by_s
        self.wall_set_s = self._scheduler.elapsed()

    # -- time

    def seconds(self) -> float:
        """Return the time of the host's wall clock (`IReactorTime`)."""
        return (self._scheduler.now_ns + self.clock_offset_ns) / NS

    @property
    def failed_locally(self) -> bool:
        """Whether an operation has just failed for a lack of local resources."""
        return self.failing.local_ns == self._scheduler.now_ns

    def wall_seconds(self) -> float:
        """Return the time of the wall clock that programs read without the reactor."""
        return self.seconds() + self.wall_offset_s

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Event:  # noqa: A002, N802
        """Schedule a call after `delay` seconds (`IReactorTime`)."""
        if self.meter is not None:
            callable, args = self.meter.run, (callable, *args)  # noqa: A001
        return self._scheduler.call_for(self, delay, callable, args, kw)

    def getDelayedCalls(self) -> Sequence[Event]:  # noqa: N802
        """Return the pending calls of this host (`IReactorTime`)."""
        return [event for event in self._scheduler.pending if event.host is self]

    def callFromThread(self, *_: Any) -> None:  # noqa: N802
        """Raise `RuntimeError`, because there are no threads in virtual time."""
        raise RuntimeError("a thread in virtual time")

    # -- connections

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> VirtualPort:  # noqa: N802
        """Accept connections (`IReactorTCP`)."""
        listening = VirtualPort(port, factory, backlog, interface or self.ip, self)
        listening.startListening()
        return listening

    def connectTCP(  # noqa: N802
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: N803
    ) -> VirtualConnector:
        """Open a connection (`IReactorTCP`)."""
        if self.failing.is_on:
            self.failing.check("dial")
        connector = VirtualConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def installNameResolver(self, resolver: Any) -> Any:  # noqa: N802
        """Replace the resolver of names (`IReactorPluggableNameResolver`)."""
        before, self.nameResolver = self.nameResolver, resolver
        return before

    # -- IReactorFDSet, which Twisted's transports call

    def addReader(self, reader: Any) -> None:  # noqa: N802
        """Start to report that a socket is readable."""
        socket: VirtualSocket = reader.socket
        socket.selectable = reader
        socket.wanted |= _READ
        self._soon(socket)

    def addWriter(self, writer: Any) -> None:  # noqa: N802
        """Start to report that a socket is writable."""
        socket: VirtualSocket = writer.socket
        socket.selectable = writer
        socket.wanted |= _WRITE
        self._soon(socket)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        """Stop reporting that a socket is readable."""
        socket = getattr(reader, "socket", None)
        if socket is not None:
            socket.wanted = _WRITE if socket.wanted & EPOLLOUT else 0
            if not socket.wanted:
                # A closing transport removes itself. This assignment avoids a reference cycle.
                socket.selectable = None

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        """Stop reporting that a socket is writable."""
        socket = getattr(writer, "socket", None)
        if socket is not None:
            socket.wanted = _READ if socket.wanted & EPOLLIN else 0
            if not socket.wanted:
                socket.selectable = None

    def ready(self, socket: VirtualSocket) -> None:
        """Report the events of a socket to the program; if the host is stalled, report them after the stall."""
        if not socket.is_queued:
            self._tell(socket)

    def _soon(self, socket: VirtualSocket) -> None:
        """Schedule the report of a socket's events separately, because it must not run inside the current event."""
        if socket.wanted and not socket.is_queued and socket.readiness() & socket.wanted:
            socket.is_queued = True
            scheduler = self._scheduler
            scheduler.at(scheduler.now_ns, self._tell, socket)

    def _tell(self, socket: VirtualSocket) -> None:
        if self.stalled_until_ns > self._scheduler.now_ns:
            socket.is_queued = True
            self._scheduler.at(self.stalled_until_ns, self._tell, socket)
            return
        socket.is_queued = False
        event = socket.readiness() & socket.wanted
        if event:
            if self.meter is not None:
                self.meter.run(self._doReadOrWrite, socket.selectable, socket, event)
            else:
                self._doReadOrWrite(socket.selectable, socket, event)  # type: ignore[no-untyped-call]
            self._soon(socket)
