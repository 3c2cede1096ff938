"""One end of a virtual TCP connection: what a protocol sees, with the manners of Twisted's own TCP transport.

Every delivery is an event of its own, never inside `write`. What is written before `loseConnection` still arrives, what
arrives at a closed end is answered by a reset, and an abort tells both ends a turn later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.virtual.vnet import Network

BUFFER_BYTES = 2**16
"""More than this waiting to be written pauses a producer (`FileDescriptor.bufferSize`)."""


@implementer(ITCPTransport, IPushProducer)
class VirtualTransport:
    """One end.

    Attributes:
        peer: The other end.
        protocol: Who reads and writes here.
        on_lost: Told when the connection is over, after the protocol.
    """

    def __init__(self, network: Network, here: tuple[str, int], there: tuple[str, int]) -> None:
        self._network = network
        self.here, self.there = here, there
        self.peer: VirtualTransport | None = None
        self.protocol: Any = None
        self.on_lost: Callable[[Failure], None] | None = None
        self.connected = True
        self.disconnecting = False
        self.disconnected = False
        self._out: list[bytes] = []
        self._flushing = False
        self._fin_sent = False
        self._is_reading = True
        self._in: list[bytes | None] = []
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False

    def __repr__(self) -> str:
        return f"<virtual {self.here[0]}:{self.here[1]} > {self.there[0]}:{self.there[1]}>"

    # -- writing

    def write(self, data: bytes) -> None:
        """Send (`ITransport`)."""
        if not isinstance(data, bytes):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if self.connected and data and not self._fin_sent:
            self._out.append(data)
            self._flush_soon()
            if self._producer is not None and self._streaming and not self._producer_paused and self._is_full():
                self._producer_paused = True
                self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802
        """Send all (`ITransport`)."""
        self.write(b"".join(data))

    def loseConnection(self, _connDone: Any = None) -> None:  # noqa: N803
        """Close when everything is written (`ITransport`)."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._flush_soon()

    def loseWriteConnection(self) -> None:  # noqa: N802
        """Close one direction when everything is written (`ITCPTransport`)."""
        if self.connected and not self._fin_sent:
            self._network.later(self._send_fin)

    def abortConnection(self) -> None:
        """Cut the connection, with a reset (`ITCPTransport`)."""
        if self.connected and not self.disconnected:
            self.disconnected = True
            self._out.clear()
            self._network.carry(self, "rst")
            self._network.later(self._lost, error.ConnectionAborted())

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: FBT001
        """Somebody who writes piece by piece (`IConsumer`)."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """No more of that (`IConsumer`)."""
        self._producer = None
        if self.disconnecting:
            self._flush_soon()

    # -- reading

    def pauseProducing(self) -> None:
        """Deliver nothing for a while (`IPushProducer`)."""
        self._is_reading = False

    def resumeProducing(self) -> None:
        """Deliver again (`IPushProducer`)."""
        if not self._is_reading:
            self._is_reading = True
            self._network.later(self._read)

    def stopProducing(self) -> None:
        """Close (`IProducer`)."""
        self.loseConnection()

    # -- facts

    def getPeer(self) -> IPv4Address:  # noqa: N802
        """The other end's address (`ITransport`)."""
        return IPv4Address("TCP", *self.there)

    def getHost(self) -> IPv4Address:  # noqa: N802
        """This end's address (`ITransport`)."""
        return IPv4Address("TCP", *self.here)

    def getTcpNoDelay(self) -> bool:  # noqa: N802
        """Always: there is no Nagle here (`ITCPTransport`)."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001, N802
        """Nothing to set (`ITCPTransport`)."""

    def getTcpKeepAlive(self) -> bool:  # noqa: N802
        """Never (`ITCPTransport`)."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001, N802
        """Nothing to set (`ITCPTransport`)."""

    # -- what the network delivers

    def arrive(self, what: bytes | str) -> None:
        """Data, `fin` or `rst` comes in from the other end."""
        if not self.connected:
            if isinstance(what, bytes):
                self._network.carry(self, "rst")
            return
        if what == "rst":
            if not self.disconnected:
                self._lost(error.ConnectionLost())
            return
        self._in.append(what if isinstance(what, bytes) else None)
        if self._is_reading:
            self._read()

    def _read(self) -> None:
        while self._in and self._is_reading and self.connected and not self.disconnected:
            data = self._in.pop(0)
            if data is None:
                self._read_end()
            elif not self.disconnecting and self.protocol is not None:
                self.protocol.dataReceived(data)

    def _read_end(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol) and not self._fin_sent:
            self.protocol.readConnectionLost()
            return
        self._send_fin()
        self._lost(error.ConnectionDone())

    # -- how it acts

    def _is_full(self) -> bool:
        return sum(map(len, self._out)) > BUFFER_BYTES

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._network.later(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.disconnected or not self.connected:
            return
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._network.carry(self, data)
        producer = self._producer
        if producer is not None and (not self._streaming or self._producer_paused):
            self._producer_paused = False
            producer.resumeProducing()
        if self.disconnecting and not self._out and self._producer is None:
            self._send_fin()
            self._lost(error.ConnectionDone())

    def _send_fin(self) -> None:
        if not self._fin_sent:
            self._fin_sent = True
            self._network.carry(self, "fin")

    def _lost(self, reason: Exception) -> None:
        if not self.connected:
            return
        self.connected = False
        self.disconnected = True
        self._network.forget(self)
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.stopProducing()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(reason))
        if self.on_lost is not None:
            self.on_lost(Failure(reason))
