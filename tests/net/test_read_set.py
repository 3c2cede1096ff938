"""Reading of connections as one set.

The tests use real sockets, and a reactor that the test runs step by step.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from eas_tw.net.monotonic import MonotonicReactor
from eas_tw.net.read_set import HAS_EPOLL, ReadSetReactor, with_read_set
from simulator.virtual.network.reactor import VirtualReactor
from tests.net.hand import HandReactor

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="epoll exists on Linux only")


class Noting(Protocol):
    """Records the received data and the reason of the close, and calls `then` with the data."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.then: Callable[[bytes], object] = lambda _: None

    def dataReceived(self, data: bytes) -> None:
        self.got.append(data)
        self.then(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008  the interface's default
        self.got.append(reason.type)


class World:
    """Connections of a `ReadSetReactor`, and the other ends of their sockets."""

    def __init__(self) -> None:
        self.reactor = HandReactor()
        self.view = ReadSetReactor(self.reactor)
        self.ends: list[socket.socket] = []

    def connect(self) -> tuple[Noting, Connection, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            near = socket.create_connection(server.getsockname())
            far, _ = server.accept()
        near.setblocking(False)
        protocol = Noting()
        transport = Connection(near, protocol, self.view)
        transport.connected = 1
        transport.logstr = "line"
        transport.startReading()
        protocol.makeConnection(transport)
        self.ends += [near, far]
        return protocol, transport, far

    def read(self) -> None:
        """Call `doRead` of the set, as the reactor does when the set is readable."""
        (readable,) = self.reactor.readers
        assert readable.doRead() is None


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for end in world.ends:
        end.close()
    if world.view._set is not None:
        world.view._set.close()


def test_all_readable_connections_are_read_in_one_step(world: World) -> None:
    lines = [world.connect() for _ in range(3)]
    assert len(world.reactor.readers) == 1
    for protocol, _, far in lines[:2]:
        far.send(b"hi")
        assert protocol.got == []
    world.read()
    assert [protocol.got for protocol, _, _ in lines] == [[b"hi"], [b"hi"], []]


def test_the_end_of_a_stream_and_a_reset_are_reported_and_leave_nothing(world: World) -> None:
    (ended, _, far), (reset, _, broken) = world.connect(), world.connect()
    far.close()
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    broken.close()
    world.read()
    assert (ended.got, reset.got) == ([ConnectionDone], [ConnectionLost])
    assert (world.reactor.readers, world.reactor.writers) == ([], [])


def test_a_connection_that_another_one_closes_is_not_read(world: World) -> None:
    lines = [world.connect() for _ in range(2)]
    for (protocol, _, far), (_, other, _) in zip(lines, reversed(lines), strict=True):
        protocol.then = lambda _, other=other: other.abortConnection()  # type: ignore[misc]
        far.send(b"x")
    world.read()
    world.reactor.advance(0)
    results = [protocol.got for protocol, _, _ in lines]
    assert [b"x"] in results
    assert [ConnectionAborted] in results


def test_a_connection_that_writes_is_read_by_the_reactor(world: World) -> None:
    """While a transport writes, the reactor also reads from it, so that bytes before a reset are not lost."""
    protocol, transport, far = world.connect()
    (read_set,) = world.reactor.readers
    transport.startWriting()
    assert world.reactor.readers == [read_set, transport]
    assert world.reactor.writers == [transport]
    far.send(b"early")
    read_set.doRead()
    assert protocol.got == []
    transport.doRead()
    assert protocol.got == [b"early"]
    transport.stopWriting()
    assert (world.reactor.readers, world.reactor.writers) == ([read_set], [])
    far.send(b"late")
    world.read()
    assert protocol.got == [b"early", b"late"]


def test_a_paused_connection_is_not_read(world: World) -> None:
    (paused, transport, far), _ = world.connect(), world.connect()
    transport.pauseProducing()
    far.send(b"x")
    world.read()
    assert paused.got == []
    transport.resumeProducing()
    world.read()
    assert paused.got == [b"x"]


def test_a_paused_connection_that_begins_to_write_stays_paused(world: World) -> None:
    (_, transport, _), _ = world.connect(), world.connect()
    (read_set,) = world.reactor.readers
    transport.pauseProducing()
    transport.startWriting()
    assert world.reactor.readers == [read_set]
    transport.resumeProducing()
    assert world.reactor.readers == [read_set, transport]
    transport.pauseProducing()
    transport.stopWriting()
    assert world.reactor.readers == [read_set]


def test_an_exception_ends_only_its_own_connection(world: World, logged: list[str]) -> None:
    (broken, _, far), (whole, _, further) = world.connect(), world.connect()

    def fail(_: bytes) -> None:
        raise ValueError("planted")

    broken.then = fail
    far.send(b"a")
    further.send(b"b")
    world.read()
    assert broken.got == [b"a", ValueError]
    assert whole.got == [b"b"]
    assert logged == ["ValueError"]


def test_the_end_of_the_reactor_is_reported_to_every_connection(world: World) -> None:
    lines = [world.connect() for _ in range(2)]
    (read_set,) = world.reactor.readers
    read_set.connectionLost(Failure(CONNECTION_LOST))
    assert [protocol.got for protocol, _, _ in lines] == [[ConnectionLost]] * 2
    assert world.reactor.readers == []


def test_the_last_connection_closes_the_set_and_the_next_one_opens_another(world: World) -> None:
    _, transport, _ = world.connect()
    (read_set,) = world.reactor.readers
    transport.connectionLost(Failure(ConnectionDone()))
    assert world.reactor.readers == []
    protocol, _, far = world.connect()
    assert world.reactor.readers != [read_set]
    far.send(b"x")
    world.read()
    assert protocol.got == [b"x"]


def test_the_sockets_of_a_dead_loop_are_closed(world: World) -> None:
    lines = [world.connect() for _ in range(2)]
    (read_set,) = world.reactor.readers
    read_set.close_sockets()
    assert [transport.socket.fileno() for _, transport, _ in lines] == [-1, -1]
    world.view._set = None


def test_virtual_time_has_no_set() -> None:
    """A reactor in virtual time gets no set, because epoll does not support the simulated sockets."""
    clock = HandReactor()
    assert with_read_set(clock) is clock
    view = MonotonicReactor(clock, clock.seconds)
    assert with_read_set(view) is view
    assert not hasattr(VirtualReactor, "_set")


def test_without_a_descriptor_for_the_set_the_reactor_reads_the_connections(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(select, "epoll", fail)
    protocol, transport, far = world.connect()
    assert world.reactor.readers == [transport]
    far.send(b"x")
    transport.doRead()
    assert protocol.got == [b"x"]
    monkeypatch.undo()
    transport.startWriting()
    transport.stopWriting()
    far.send(b"y")
    world.read()
    assert protocol.got == [b"x", b"y"]
    transport.connectionLost(Failure(ConnectionDone()))
    assert (world.reactor.readers, world.reactor.writers) == ([], [])


def test_a_connection_that_raises_at_the_end_of_the_reactor_does_not_hide_it_from_others(
    world: World, logged: list[str]
) -> None:
    (first, _, _), (second, _, _) = world.connect(), world.connect()

    def fail(_: Failure) -> None:
        raise ValueError("planted")

    first.connectionLost = fail  # type: ignore[assignment,method-assign]
    (read_set,) = world.reactor.readers
    read_set.connectionLost(Failure(CONNECTION_LOST))
    assert second.got == [ConnectionLost]
    assert logged == ["ValueError"]
