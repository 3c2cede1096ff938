"""The in-memory network: listeners, packets in flight, and the link conditions that apply to them.

Fault operations are in pairs: `blackhole` and `restore`, `clog` and `unclog`, `close_queue` and `open_queue`. Each
direction of a connection delivers packets in order.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Any

from simulator.virtual.network.link_conditions import Link, Way, is_cut, pieces
from simulator.virtual.network.names import NameServer
from simulator.virtual.network.sockets import ACK, DATA, RST, SYN, SYN_ACK
from simulator.virtual.network.virtual_time import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.virtual.network.sockets import Address, VirtualSocket
    from simulator.virtual.network.virtual_time import Scheduler

_FIRST_LISTENING_PORT = 40_000
_EPHEMERAL_PORTS = range(10_000, 40_000)


class Network:
    """All hosts and the links between them.

    Args:
        scheduler: Clock and event queue.
        latency_s: Delay of one direction, in seconds.
        jitter_s: Greatest additional delay, drawn for each packet, in seconds.
        segment_bytes: Greatest number of bytes that arrive in one segment; 0 for no limit.

    Attributes:
        sockets: Sockets that programs have open, except listening ones.
        dialled: Number of sockets that a host has opened, or is opening, to an address; by the host's IP address and
            that address.
        on_syn: Called with the client's socket for each SYN that arrives at a host; `None` for no call.
        names: The name server.
    """

    def __init__(
        self, scheduler: Scheduler, *, latency_s: float = 0.0002, jitter_s: float = 0.0, segment_bytes: int = 0
    ) -> None:
        self.scheduler = scheduler
        self._latency_ns, self._jitter_ns = round(latency_s * NS), round(jitter_s * NS)
        self._segment_bytes = segment_bytes
        self._listening: dict[Address, VirtualSocket] = {}
        self._links: dict[Address, Link] = {}
        self._holes: dict[str, None] = {}
        self._numbered = 0
        self._next_port = _FIRST_LISTENING_PORT
        self._next_ephemeral = 0
        self.sockets: dict[VirtualSocket, None] = {}
        self.dialled: Counter[tuple[str, Address | None]] = Counter()
        self.on_syn: Callable[[VirtualSocket], None] | None = None
        self.names = NameServer(scheduler)

    @property
    def transports(self) -> list[VirtualSocket]:
        """The ends of connections that programs have open."""
        return list(self.sockets)

    # -- link conditions

    def link(self, address: Address) -> Link:
        """Return the link to a server address; it is the same for all clients."""
        found = self._links.get(address)
        if found is None:
            name = f"network/{address[0]}:{address[1]}"
            up, down = (
                Way(self.scheduler, self.scheduler.stream(f"{name}/{way}"), self._latency_ns, self._jitter_ns)
                for way in ("up", "down")
            )
            found = self._links[address] = Link(up, down)
            self._apply_to(found.ways, segment_bytes=self._segment_bytes, is_hole=address[0] in self._holes)
        return found

    def set_segments(self, size_bytes: int) -> None:
        """Set the greatest number of bytes of a segment, on all links, from now on; 0 for no limit."""
        self._segment_bytes = size_bytes
        for link in self._links.values():
            self._apply_to(link.ways, segment_bytes=size_bytes)

    def set(self, ways: Iterable[Way], **conditions: Any) -> None:
        """Change conditions of directions of links; at the end of a blackhole, the kept packets are retransmitted."""
        self._apply_to(ways, **conditions)

    def blackhole(self, ip: str) -> None:
        """Block all packets to and from the addresses of a host."""
        self.scheduler.log(f"blackhole {ip}")
        self._holes[ip] = None
        self._apply_to(self._ways_of(ip), is_hole=True)

    def restore(self, ip: str) -> None:
        """End the blackhole of a host."""
        self.scheduler.log(f"restore {ip}")
        self._holes.pop(ip, None)
        self._apply_to(self._ways_of(ip), is_hole=False)

    def close_queue(self, address: Address) -> None:
        """Make the accept queue of a listener full."""
        if address in self._listening:
            self._listening[address].is_full = True

    def open_queue(self, address: Address) -> None:
        """Let the accept queue of a listener take connections again."""
        if address in self._listening:
            self._listening[address].is_full = False

    def clog(self, socket: VirtualSocket) -> None:
        """Keep all packets that a socket sends, until `unclog`."""
        if socket.clogged is None:
            socket.clogged = []

    def unclog(self, socket: VirtualSocket) -> None:
        """Send the packets that were kept since `clog`."""
        held, socket.clogged = socket.clogged or [], None
        for kind, data in held:
            self.carry(socket, kind, data)

    @property
    def backlog_s(self) -> float:
        """Seconds until no packet waits for bandwidth on any link."""
        return max((way.backlog_s for link in self._links.values() for way in link.ways), default=0.0)

    def _ways_of(self, ip: str) -> list[Way]:
        return [way for address, link in self._links.items() if address[0] == ip for way in link.ways]

    def _apply_to(self, ways: Iterable[Way], **conditions: Any) -> None:
        for way in ways:
            way.set(**conditions)
            if not (way.is_hole or way.drops_syn):
                for sender, kind, data, at_ns in way.resend():
                    self._send(sender, way, kind, data, at_ns, is_again=True)

    # -- called by sockets

    def number(self) -> int:
        """Return a unique number for a socket."""
        self._numbered += 1
        return self._numbered

    def bind(self, socket: VirtualSocket, address: Address) -> Address:
        """Register a listening socket, and return its address; port 0 selects a free port.

        Raises:
            OSError: Another socket listens on the address.
        """
        if not address[1]:
            address = (address[0], self._next_port)
            self._next_port += 1
        if address in self._listening:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self._listening[address] = socket
        return address

    def ephemeral(self, socket: VirtualSocket) -> Address:
        """Return an ephemeral address for the client's end of a connection."""
        self.sockets[socket] = None
        self.dialled[socket.here[0], socket.there] += 1
        self._next_ephemeral = (self._next_ephemeral + 1) % len(_EPHEMERAL_PORTS)
        return socket.here[0], _EPHEMERAL_PORTS[self._next_ephemeral]

    def opened(self, socket: VirtualSocket) -> None:
        """Register an end of a connection that has been established."""
        self.sockets[socket] = None

    def closed(self, socket: VirtualSocket) -> None:
        """Unregister a socket that a program has closed."""
        if socket in self.sockets:
            del self.sockets[socket]
            if socket.is_client:
                self.dialled[socket.here[0], socket.there] -= 1
        if self._listening.get(socket.here) is socket:
            del self._listening[socket.here]
        peer = socket.peer
        if peer is not None and peer.is_closed:
            # No program will receive the packets that are still in flight. Without this assignment the two ends would
            # form a reference cycle.
            socket.peer = peer.peer = None

    # -- delivery

    def carry(self, sender: VirtualSocket, kind: int, data: bytes = b"") -> None:
        """Send a packet to the other end; it arrives after all packets that the sender has sent before."""
        way = sender.way
        if way is None:
            return
        if sender.clogged is not None:
            sender.clogged.append((kind, data))
        elif not way.is_plain:
            self._carry_badly(sender, way, kind, data)
        else:
            scheduler = self.scheduler
            sender.due_ns = due_ns = max(sender.due_ns, scheduler.now_ns + way.delay_ns(len(data)))
            scheduler.at(due_ns, self._deliver, sender, way, kind, data)

    def _carry_badly(self, sender: VirtualSocket, way: Way, kind: int, data: bytes) -> None:
        if way.swallows(kind):
            way.hold(sender, kind, data)
        elif is_cut(way, kind, data):
            for piece in pieces(data, way.segment_bytes):
                self._send(sender, way, kind, piece, self.scheduler.now_ns)
        else:
            self._send(sender, way, kind, data, self.scheduler.now_ns)

    def _send(
        self, sender: VirtualSocket, way: Way, kind: int, data: bytes, at_ns: int, *, is_again: bool = False
    ) -> None:
        slow_ns = way.handshake_ns if kind == SYN else 0
        lost_ns = way.lost_ns(kind) if way.loss else 0
        sender.due_ns = max(sender.due_ns, at_ns + slow_ns + lost_ns + way.delay_ns(len(data)))
        deliver = self._deliver_again if lost_ns or is_again else self._deliver
        self.scheduler.at(sender.due_ns, deliver, sender, way, kind, data)

    def _deliver_again(self, sender: VirtualSocket, way: Way, kind: int, data: bytes) -> None:
        """Deliver a retransmitted packet, unless its sender has discarded it; a reset is never retransmitted."""
        if kind == RST:
            return
        if sender.is_dead:
            sender.is_torn = True
        else:
            self._deliver(sender, way, kind, data)

    def _deliver(self, sender: VirtualSocket, way: Way, kind: int, data: bytes) -> None:
        if not way.is_plain and way.swallows(kind):
            way.hold(sender, kind, data, was_under_way=True)
            return
        self.scheduler.trace(sender.serial, len(data) if kind == DATA else -kind)
        peer = sender.peer
        if kind == SYN:
            if not sender.is_closed:
                self._syn(sender, way)
        elif kind == ACK:
            self._ack(sender)
        elif peer is not None and (kind == RST or not sender.is_torn):
            peer.arrive(kind, data)

    def _syn(self, near: VirtualSocket, way: Way) -> None:
        if self.on_syn is not None:
            self.on_syn(near)
        listening = self._listening.get(near.there or ("", 0))
        if listening is None:
            down = self.link(near.there or ("", 0)).down
            if down.is_hole:
                self._try_again(near, way)
            else:
                self.scheduler.at(self.scheduler.now_ns + down.delay_ns(0), near.refused)
            return
        far = listening.accept_from(near)
        if far is None:
            # The accept queue is full. Linux drops the SYN then, and the client retransmits it.
            self._try_again(near, way)
        else:
            self.carry(far, SYN_ACK)

    def _try_again(self, near: VirtualSocket, way: Way) -> None:
        self.scheduler.at(self.scheduler.now_ns + NS, self._deliver, near, way, SYN, b"")

    def _ack(self, near: VirtualSocket) -> None:
        far = near.peer
        listening = self._listening.get(near.there or ("", 0))
        if far is None:
            return
        if listening is None:
            far.close_by_reset()
        else:
            listening.join(far)
