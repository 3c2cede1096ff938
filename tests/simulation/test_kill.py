"""A killed process: its timers never fire, and its host closes its connections."""

from __future__ import annotations

from simulator.virtual.network.reactor import VirtualReactor
from tests.simulation.harness import CLIENT, Harness


def test_the_timers_of_a_killed_process_never_fire_and_its_connections_are_closed() -> None:
    harness = Harness().init()
    harness.call()
    fired: list[bool] = []
    harness.reactor.callLater(1.0, fired.append, True)
    connections = sum(len(harness.instance(number).server.connections) for number in range(3))
    harness.reactor.kill()
    assert not harness.reactor.getDelayedCalls()
    assert [socket for socket in harness.network.transports if socket.here[0] == CLIENT] == []
    harness.wait(30.0)
    assert connections == 1
    assert sum(len(harness.instance(number).server.connections) for number in range(3)) == 0
    assert not fired
    assert not harness.scheduler.errors


def test_a_new_process_on_the_host_of_a_killed_one_works() -> None:
    harness = Harness().init()
    harness.reactor.kill()
    fired: list[bool] = []
    VirtualReactor(harness.network, CLIENT).callLater(1.0, fired.append, True)
    harness.wait(2.0)
    assert fired == [True]
