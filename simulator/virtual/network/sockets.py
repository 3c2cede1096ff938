"""In-memory sockets that behave towards Twisted's transports as Linux TCP sockets do.

A socket has its buffers, its window and the state of the connection; the network determines when packets arrive. These
rules of TCP, which affect programs, are implemented:

1. Data that arrived before a reset can still be read.
2. Closing a socket with unread data resets the connection.
3. Data for a closed socket is answered with a reset.
4. A reader that pauses fills the window, which stops the writer.

Congestion control, checksums and socket options are not simulated.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from functools import cache
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.virtual.network.link_conditions import Way
    from simulator.virtual.network.network import Network
    from simulator.virtual.network.reactor import VirtualReactor

    Address = tuple[str, int]

_PEEK = int(socket.MSG_PEEK)
RECEIVE_WINDOW_BYTES = 128 * 2**10
SEND_BUFFER_BYTES = 256 * 2**10
_CHOKED_S = 0.02
_WRITABLE_BELOW_BYTES = SEND_BUFFER_BYTES * 2 // 3

SYN, SYN_ACK, ACK, DATA, FIN, RST, WINDOW = range(7)
PACKETS = ("SYN", "SYN-ACK", "ACK", "data", "FIN", "RST", "window")


@cache
def _any_descriptor() -> int:
    """Return the descriptor of an open file, because some of Twisted's code sets flags on it."""
    return os.open(os.devnull, os.O_RDONLY)


class VirtualSocket:
    """One end of a connection, or a listening socket; the parts of `socket.socket` that Twisted uses.

    Attributes:
        reactor: Reactor of its host.
        here, there: Addresses of this end and of the other end; `there` is `None` while the other end is unknown.
        peer: The other end, once the handshake has created it.
        way: Direction of the link in which this end sends; `None` before it connects.
        due_ns: Arrival of the last packet sent, in virtual nanoseconds; later packets must not arrive before it.
        clogged: Packets that are held while the connection is clogged; `None` when it is not.
        wanted: Events that the program waits for, as an epoll mask.
        is_closed: Whether the program has closed it.
        is_dead: Whether the connection was refused, or reset from either end.
        is_torn: Whether a packet from this end will never arrive, so that its later packets cannot be read.
        is_choked: Whether its host temporarily has no memory for packets.
        is_full: Whether a fault makes the accept queue of a listening socket full.
        heard_log: List to which the time of each arrival of bytes is appended; `None` for no list.
        said_ns, heard_ns: Time at which this end last sent bytes, and received bytes, in virtual nanoseconds; 0 for
            never.
        sent_bytes, received_bytes: Total number of bytes that this end has sent, and received.
    """

    __slots__ = (
        "_backlog", "_error", "_fin_in", "_fin_out", "_fin_sent", "_inbox", "_is_connecting", "_is_listening",
        "_lingers_not", "_made_ns", "_network", "_out", "_out_bytes", "_spoke_ns", "_unread_bytes", "accepting",
        "clogged", "due_ns", "fileno", "heard_log", "heard_ns", "here", "is_choked", "is_client", "is_closed",
        "is_dead", "is_full", "is_queued", "is_torn", "peer", "reactor", "received_bytes", "said_ns", "selectable",
        "sent_bytes", "serial", "there", "wanted", "way",
    )  # fmt: skip

    def __init__(self, network: Network, reactor: VirtualReactor) -> None:
        self._network = network
        self.reactor = reactor
        self.serial = network.number()
        self.here: Address = (reactor.ip, 0)
        self.there: Address | None = None
        self.peer: VirtualSocket | None = None
        self.way: Way | None = None
        self.due_ns = 0
        self.clogged: list[tuple[int, bytes]] | None = None
        self.fileno = _any_descriptor
        self.selectable: Any = None
        self.wanted = 0
        self.is_queued = False
        self.is_client = self.is_closed = self.is_dead = self.is_torn = self.is_full = self.is_choked = False
        self.received_bytes = self.sent_bytes = 0
        self._made_ns = self._spoke_ns = self.said_ns = self.heard_ns = 0
        self.heard_log: list[int] | None = None
        # Lists, not deques: they rarely hold more than one item, and an empty deque takes 600 bytes.
        self.accepting: list[VirtualSocket] = []
        self._backlog = 0
        self._is_listening = self._is_connecting = False
        self._error = 0
        self._fin_in = self._fin_out = self._fin_sent = self._lingers_not = False
        self._inbox: list[bytes] = []
        self._out: list[bytes] = []
        self._out_bytes = self._unread_bytes = 0

    def __repr__(self) -> str:
        return f"<socket {self.serial} {self.here} > {self.there}>"

    @property
    def idle_since_ns(self) -> int | None:
        """Time since which a client's end has been idle; `None` while it connects, is dead, or awaits a response."""
        if self._is_connecting or self.is_dead or self.said_ns > self.heard_ns:
            return None
        return max(self.heard_ns, self._made_ns)

    @property
    def is_quiet(self) -> bool:
        """Whether a client's end is connected, and all bytes that either end has sent have been received."""
        far = self.peer
        if far is None or not self.is_client or self.is_closed or self.is_dead or far.is_closed or far.is_dead:
            return False
        # A server protocol that is answering is not idle; a connection that the program has not accepted has no
        # protocol.
        protocol = getattr(far.selectable, "protocol", None)
        is_read = self.sent_bytes == far.received_bytes and far.sent_bytes == self.received_bytes
        is_open = not (far._fin_out or self._fin_out)  # noqa: SLF001  of the same class
        is_writing = bool(self.wanted & EPOLLOUT)
        return is_read and is_open and not is_writing and protocol is not None and protocol.is_idle

    def receive_stray(self, data: bytes) -> None:
        """Receive bytes immediately as if the other end had sent them."""
        far = self.peer
        if far is not None:
            far.sent_bytes += len(data)
            far._unread_bytes += len(data)  # noqa: SLF001
            self.arrive(DATA, data)

    @property
    def has_unread(self) -> bool:
        """Whether bytes have arrived that the program has not read."""
        return bool(self._inbox)

    @property
    def lay_idle(self) -> bool:
        """Whether a client's end was connected for a while before it sent its first bytes."""
        return self._spoke_ns > self._made_ns

    # -- the interface of `socket.socket`

    def setblocking(self, flag: object) -> None:
        """Do nothing: no operation blocks."""

    def bind(self, address: Address) -> None:
        """Bind to an address; port 0 selects a free port."""
        self.here = self._network.bind(self, (address[0] or self.reactor.ip, address[1]))

    def listen(self, backlog: int) -> None:
        """Listen for connections; at most `backlog` connections wait until the program accepts them."""
        self._is_listening = True
        self._backlog = backlog

    def accept(self) -> tuple[VirtualSocket, Address]:
        """Accept the next connection."""
        if not self.accepting:
            raise BlockingIOError(errno.EAGAIN, "no connection is waiting")
        taken = self.accepting.pop(0)
        return taken, taken.there or ("", 0)

    def connect_ex(self, address: Address) -> int:
        """Begin to connect, or return the errno of the attempt's state."""
        if self.way is not None:
            return errno.EALREADY if self._is_connecting else errno.EISCONN
        if self.reactor.failing.is_on:
            error = self.reactor.failing.error_at("connect")
            if isinstance(error, OSError):
                return error.errno or errno.EIO
        self.is_client = self._is_connecting = True
        self.there = address
        self.here = self._network.ephemeral(self)
        self.way = self._network.link(address).up
        self._network.carry(self, SYN)
        return errno.EINPROGRESS

    def send(self, data: Any) -> int:
        """Send as much of `data` as fits into the buffer; return the number of bytes."""
        if self.is_closed:
            self.reactor.written_after_loss += 1
            raise OSError(errno.EBADF, "the socket is closed")
        if self._error:
            raise self._take_error()
        if self._fin_out or self.is_dead:
            raise BrokenPipeError(errno.EPIPE, "the connection is closed in this direction")
        if not data:
            # Twisted sends an empty string to test a socket before closing the socket. No packet is sent for this.
            return 0
        if self.is_client and self.reactor.failing.is_on and (error := self.reactor.failing.error_at("send")):
            if getattr(error, "errno", 0) == errno.ENOBUFS:
                self.is_choked = True
                self._network.scheduler.call_later(_CHOKED_S, self._breathe)
            raise error
        room = SEND_BUFFER_BYTES - self._out_bytes
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, "the send buffer is full")
        taken = bytes(data if len(data) <= room else data[:room])
        self.said_ns = self._network.scheduler.now_ns
        if not self._spoke_ns:
            self._spoke_ns = self.said_ns
        self.sent_bytes += len(taken)
        if not self._out and self._unread_bytes + len(taken) <= RECEIVE_WINDOW_BYTES:
            self._unread_bytes += len(taken)
            self._network.carry(self, DATA, taken)
        else:
            self._out.append(taken)
            self._out_bytes += len(taken)
            self._pump()
        return len(taken)

    def _breathe(self) -> None:
        """End the temporary lack of memory for packets."""
        self.is_choked = False
        if not self.is_closed:
            self.reactor.ready(self)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return received bytes; empty at the end of the stream.

        After a reset, the error is raised when all bytes have been read. With `MSG_PEEK` the bytes are kept, but a
        pending error is cleared, as in Linux.
        """
        inbox = self._inbox
        # `&` with a flag of the module `socket` runs Python code (`IntFlag`), which would slow down every read.
        if flags and inbox and int(flags) & _PEEK:
            return inbox[0][:size]
        if inbox:
            data = inbox[0] if len(inbox) == 1 else b"".join(inbox)
            inbox.clear()
            if len(data) > size:
                inbox.append(data[size:])
                data = data[:size]
            writer = self.peer
            if writer is not None and writer.read_by_peer(len(data)):
                self._network.carry(self, WINDOW, len(data).to_bytes(4, "big"))
            return data
        if self._fin_in:
            return b""
        if self._error:
            raise self._take_error()
        if self.is_dead:
            return b""
        raise BlockingIOError(errno.EAGAIN, "nothing has come")

    def recv_into(self, buffer: memoryview) -> int:
        """Store received bytes in `buffer`, and return their number; 0 at the end of the stream."""
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        """End the sending direction; `SHUT_RD` alone has no effect."""
        if self.is_dead or self.way is None or self._is_connecting:
            raise OSError(errno.ENOTCONN, "not connected")
        if how != socket.SHUT_RD:
            self._fin_out = True
            self._pump()

    def close(self) -> None:
        """Close with a FIN; with an RST if data is unread or SO_LINGER is 0."""
        if self.is_closed:
            return
        self.is_closed = True
        self._network.closed(self)
        while self.accepting:
            self.accepting.pop(0).close_by_reset()
        if self.way is None or self.is_dead or self._is_connecting:
            return
        if self._lingers_not or self._inbox:
            self.close_by_reset()
        else:
            self._fin_out = True
            self._pump()

    def close_by_reset(self) -> None:
        """Discard all data, and send an RST."""
        if not self.is_dead:
            self._die()
            self._network.carry(self, RST)
        self.is_closed = True
        self._network.closed(self)

    def getsockopt(self, level: int, option: int) -> int:
        """Return and clear the pending error; other options are 0."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            found, self._error = self._error, 0
            return found
        return 0

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """Set SO_LINGER, of which only zero seconds have an effect; other options are ignored."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER) and isinstance(value, bytes):
            is_on, seconds = struct.unpack("ii", value)
            self._lingers_not = bool(is_on) and not seconds

    def getsockname(self) -> Address:
        """Return this end's address."""
        return self.here

    def getpeername(self) -> Address:
        """Return the other end's address."""
        return self.there or ("", 0)

    # -- epoll

    def readiness(self) -> int:
        """Compute EPOLLIN, EPOLLOUT, EPOLLHUP and EPOLLERR as the kernel does for TCP (`tcp_poll`)."""
        if self._is_listening:
            return EPOLLIN if self.accepting else 0
        if self.is_dead:
            return EPOLLIN | EPOLLOUT | EPOLLHUP | (EPOLLERR if self._error else 0)
        if self._is_connecting or self.way is None:
            return 0
        mask = EPOLLIN if self._inbox or self._fin_in else 0
        if not self.is_choked and (self._fin_out or self._out_bytes < _WRITABLE_BELOW_BYTES):
            mask |= EPOLLOUT
        return mask | EPOLLHUP if self._fin_out and self._fin_in else mask

    # -- called by the network

    def arrive(self, kind: int, data: bytes) -> None:
        """Handle a packet from the other end."""
        if kind == DATA:
            self._data(data)
        elif kind == FIN:
            self._fin()
        elif kind == RST:
            self._rst()
        elif kind == WINDOW:
            self._unread_bytes -= int.from_bytes(data, "big")
            self._pump()
            self.reactor.ready(self)
        elif kind == SYN_ACK:
            self._syn_ack()

    def accept_from(self, near: VirtualSocket) -> VirtualSocket | None:
        """Handle a SYN at this listening socket; return the server's end, or `None` when the queue is full."""
        if self.is_full or len(self.accepting) >= self._backlog:
            return None
        far = VirtualSocket(self._network, self.reactor)
        far.here, far.there = self.here, near.here
        far.peer, near.peer = near, far
        far.way = self._network.link(self.here).down
        return far

    def join(self, far: VirtualSocket) -> None:
        """Complete the handshake with `far`, so that the program can accept it."""
        if self.is_closed:
            far.close_by_reset()
        elif not far.is_dead:
            self.accepting.append(far)
            self._network.opened(far)
            self.reactor.ready(self)

    def read_by_peer(self, size: int) -> bool:
        """Handle a read of `size` bytes at the other end; return whether this end needs a window update."""
        if self._out or (self._out_bytes and self.wanted & EPOLLOUT):
            return True
        self._unread_bytes -= size
        return False

    def refused(self) -> None:
        """Handle a refused connection: no socket listens at the other end."""
        if not self.is_closed:
            self._is_connecting = False
            self.is_dead = True
            self._error = errno.ECONNREFUSED
            self.reactor.ready(self)

    def _syn_ack(self) -> None:
        if self.is_closed:
            # The program has closed the socket before the handshake was complete; Linux answers with an RST.
            self.is_dead = True
            self._network.carry(self, RST)
            return
        self._is_connecting = False
        self._made_ns = self._network.scheduler.now_ns
        self._network.opened(self)
        self._network.carry(self, ACK)
        self.reactor.ready(self)

    def _data(self, data: bytes) -> None:
        if self.is_closed or self.is_dead:
            self.is_dead = True
            self._out.clear()
            self._network.carry(self, RST)
            return
        self.received_bytes += len(data)
        self.heard_ns = self._network.scheduler.now_ns
        if self.heard_log is not None:
            self.heard_log.append(self.heard_ns)
        self._inbox.append(data)
        self.reactor.ready(self)

    def _fin(self) -> None:
        if self.is_dead:
            self._network.carry(self, RST)
        elif not self.is_closed:
            self._fin_in = True
            self.reactor.ready(self)

    def _rst(self) -> None:
        if self.is_dead:
            return
        # A reset after a FIN does not affect reads; only a write fails then, with EPIPE (`tcp_reset`).
        error = errno.ECONNREFUSED if self._is_connecting else errno.EPIPE if self._fin_in else errno.ECONNRESET
        self._die()
        if not self.is_closed:
            self._error = error
            self.reactor.ready(self)

    # -- internals

    def _die(self) -> None:
        self.is_dead = True
        self._is_connecting = False
        self._out.clear()
        self._out_bytes = 0

    def _take_error(self) -> OSError:
        error, self._error = self._error, 0
        return OSError(error, os.strerror(error))

    def _pump(self) -> None:
        """Send as much as the window allows, and the FIN after the last byte."""
        out = self._out
        while out and self._unread_bytes < RECEIVE_WINDOW_BYTES:
            data = out.pop(0)
            room = RECEIVE_WINDOW_BYTES - self._unread_bytes
            if len(data) > room:
                out.insert(0, data[room:])
                data = data[:room]
            self._out_bytes -= len(data)
            self._unread_bytes += len(data)
            self._network.carry(self, DATA, data)
        if self._fin_out and not out and not self._fin_sent and not self.is_dead:
            self._fin_sent = True
            self._network.carry(self, FIN)
