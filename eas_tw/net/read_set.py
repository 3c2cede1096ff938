"""Reads all readable connections in one step of the reactor.

For each readable connection Twisted's reactors enter a log context, look up the connection, check its descriptor and
call `doRead`. With many small responses these steps take a fifth of the CPU time of a request (docs/performance). An
epoll object is a descriptor that is readable while one of its members is. So the idle and waiting connections of a
client are members of a `ReadSet`, which is one descriptor for the reactor, and which calls `doRead` of its readable
members.

A connection that is being opened, or has bytes to write, is registered with the reactor instead. If the peer has reset
it, the reactor must read the bytes that arrived before the reset. It reads before it writes only if the connection is
registered for both.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.tcp import Connector
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from eas_tw.net.monotonic import is_real
from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReadWriteDescriptor

    from eas_tw.telemetry.contained import CallLater


HAS_EPOLL = hasattr(select, "epoll")


def with_read_set(reactor: Any) -> Any:
    """Return a reactor that reads its connections as one set, if `reactor` allows it.

    Returns:
        1. A `ReadSetReactor`, for a reactor with real sockets on Linux.
        2. `reactor` itself, in a test or simulation, and on systems without epoll.
    """
    has_sockets = HAS_EPOLL and is_real(reactor) and IReactorFDSet.providedBy(reactor)
    return ReadSetReactor(reactor) if has_sockets else reactor


class ReadSetReactor:
    """A reactor whose `connectTCP` opens connections that are read as one set; it forwards all other attributes.

    Args:
        reactor: A reactor with real sockets, or a `MonotonicReactor` on it.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._reading: dict[IReadWriteDescriptor, None] = {}
        self._writing: dict[IReadWriteDescriptor, None] = {}
        self._set: ReadSet | None = None
        # `seconds` and `callLater` are stored as attributes, because every call uses them.
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater
        directlyProvides(self, providedBy(reactor))

    def __repr__(self) -> str:
        return f"<ReadSetReactor of {self._reactor!r} reading={len(self._reading)} writing={len(self._writing)}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(  # noqa: N802
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: N803  the interface's name
    ) -> Connector:
        """Open a connection (`IReactorTCP`)."""
        connector = Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    # -- called by the transports (`IReactorFDSet`)

    def addReader(self, reader: Any) -> None:  # noqa: N802
        """Report when a connection is readable (`IReactorFDSet`)."""
        if reader in self._writing:
            self._reactor.addReader(reader)
        else:
            self._add(reader)
        self._reading[reader] = None

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        """Stop reporting when a connection is readable (`IReactorFDSet`)."""
        if self._reading.pop(reader, self) is None:
            # A connection that has bytes to write, or that could not be added to the set, is registered with the
            # reactor.
            self._reactor.removeReader(reader)
            if self._set is not None:
                self._set.remove(reader)
            self._close_if_unused()

    def addWriter(self, writer: Any) -> None:  # noqa: N802
        """Report when a connection is writable; until then the reactor, not the set, reads it (`IReactorFDSet`)."""
        if writer not in self._writing:
            self._writing[writer] = None
            if writer in self._reading:
                if self._set is not None:
                    self._set.remove(writer)
                self._reactor.addReader(writer)
        self._reactor.addWriter(writer)

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        """Stop reporting when a connection is writable (`IReactorFDSet`)."""
        if self._writing.pop(writer, self) is None:
            self._reactor.removeWriter(writer)
            if writer in self._reading:
                self._reactor.removeReader(writer)
                self._add(writer)
            self._close_if_unused()

    def disconnect(self, connection: Any, why: BaseException) -> None:
        """Call `connectionLost` of a connection, as the reactor does after a failed read."""
        self.removeReader(connection)
        self.removeWriter(connection)
        connection.connectionLost(Failure(why))

    def _add(self, reader: Any) -> None:
        try:
            if self._set is None:
                opened = ReadSet(self.disconnect, self.callLater)
                self._reactor.addReader(opened)
                self._set = opened
            self._set.add(reader)
        except OSError:
            # This host has no descriptor or memory for the set. The connection works without it, at a higher cost.
            self._reactor.addReader(reader)

    def _close_if_unused(self) -> None:
        """Remove the set from the reactor after the last connection has been closed."""
        if self._set is not None and not self._reading and not self._writing:
            unused, self._set = self._set, None
            self._reactor.removeReader(unused)
            unused.close()


@implementer(IReadDescriptor)
class ReadSet:
    """A descriptor that is readable while at least one of its members is readable.

    Args:
        disconnect: A function that is called with a member and the reason when reading the member has failed or has
            reached the end of its stream.
        later: The reactor's `callLater`.
    """

    def __init__(self, disconnect: Callable[[Any, BaseException], None], later: CallLater) -> None:
        self._disconnect = disconnect
        self._later = later
        self._epoll = select.epoll()
        self._members: dict[int, Any] = {}

    def add(self, member: Any) -> None:
        """Add a connection; a second call has no effect."""
        descriptor = member.fileno()
        if self._members.get(descriptor) is not member:
            self._epoll.register(descriptor, select.EPOLLIN)
            self._members[descriptor] = member

    def remove(self, member: Any) -> None:
        """Remove a connection if it is a member."""
        descriptor = member.fileno()
        if self._members.get(descriptor) is member:
            del self._members[descriptor]
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Close the epoll object."""
        self._epoll.close()

    def close_sockets(self) -> None:
        """Close the sockets of all members and the epoll object, without calling `connectionLost`.

        `eas_tw.aio.running` calls this method after the end of an asyncio loop.
        """
        for member in self._members.values():
            member.socket.close()
        self._members.clear()
        self.close()

    # -- called by the reactor

    def fileno(self) -> int:
        """Return the descriptor of the epoll object (`IFileDescriptor`)."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:  # noqa: N802
        """Return the prefix of log lines that are written while connections are read (`ILoggingContext`)."""
        return "eas_tw"

    def doRead(self) -> None:  # noqa: N802
        """Read all readable members (`IReadDescriptor`)."""
        members = self._members
        for descriptor, _ in self._epoll.poll(0, max(1, len(members))):
            # Code that ran while another member was read may have removed this member.
            member = members.get(descriptor)
            if member is None:
                continue
            try:
                why = member.doRead()
            except BaseException:  # noqa: BLE001  as the reactor: an exception in a connection ends that connection
                why = sys.exc_info()[1]
                contain(self._later, "a connection is closed, because reading it raised an exception")
            if why:
                self._disconnect(member, why)

    def connectionLost(self, reason: Failure) -> None:
        """Report the end of the reactor to all members (`IFileDescriptor`)."""
        for member in list(self._members.values()):
            try:
                member.connectionLost(reason)
            except BaseException:  # noqa: BLE001  the other connections must get the report, too
                contain(self._later, "the end of a connection could not be reported")
