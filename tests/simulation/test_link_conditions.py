"""A connection of the virtual network delivers in order under all link conditions."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import ClientFactory, Factory, Protocol

from simulator.virtual.network.network import Network
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.network.virtual_time import Scheduler

SERVER = ("10.0.0.2", 80)


def test_a_packet_that_a_blackhole_meets_on_its_way_arrives_before_later_ones() -> None:
    """Chaos seed 990454: a frame of a watch arrived before earlier frames that a second blackhole had kept again."""
    received: list[bytes] = []
    ends: list[Any] = []

    class Listener(Protocol):
        def dataReceived(self, data: bytes) -> None:
            received.append(data)

    class Caller(Protocol):
        def connectionMade(self) -> None:
            ends.append(self.transport)

    scheduler = Scheduler(1)
    network = Network(scheduler, latency_s=0.1, jitter_s=0.0)
    VirtualReactor(network, SERVER[0]).listenTCP(SERVER[1], Factory.forProtocol(Listener))
    VirtualReactor(network, "10.0.0.1").connectTCP(*SERVER, ClientFactory.forProtocol(Caller))
    scheduler.run_for(1.0)
    (end,) = ends
    end.write(b"1")
    scheduler.run_for(0.05)
    ways = network.link(SERVER).ways
    network.set(ways, is_hole=True)
    end.write(b"2")
    scheduler.run_for(0.01)
    end.write(b"3")
    scheduler.run_for(5.0)
    assert received == []
    network.set(ways, is_hole=False)
    scheduler.run_for(10.0)
    assert b"".join(received) == b"123"
