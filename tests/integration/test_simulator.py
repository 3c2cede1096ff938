"""The simulator in the test's process, as a context manager and as a service of a Twisted application."""

from __future__ import annotations

from typing import Any

import pytest_twisted
from twisted.application.service import IServiceCollection, MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from eas_tw import ENDPOINT_TYPE_DIRECT, ConnectionFailed, PredictClient
from simulator import Fault, ServiceSpec, Simulator, Target


def client_of(simulator: Simulator) -> PredictClient:
    return PredictClient(simulator.url, "echo", endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor)


@pytest_twisted.ensureDeferred
async def test_a_service_of_an_application_listens_while_it_runs() -> None:
    """The parent starts and stops the service twice, as an application may. Afterwards no port is open."""
    application: Any = MultiService()
    verifyObject(IServiceCollection, application)
    simulator = Simulator(reactor, services=[ServiceSpec("echo", 3)], seed=7)
    simulator.setServiceParent(application)
    assert not simulator.running
    for _ in range(2):
        application.startService()
        assert simulator.running
        async with client_of(simulator) as client:
            assert str(await client.predict("hello")) == "hello"
        await application.stopService()
        assert not simulator.running
    assert simulator.journal.total == 2


@pytest_twisted.ensureDeferred
async def test_the_simulator_stops_while_clients_are_connected() -> None:
    """Calls in flight are aborted. `stopService` fires when the connections of these calls are closed."""
    arrived: Deferred[None] = Deferred()

    async def ponder(_: bytes) -> bytes:
        arrived.callback(None)
        return await Deferred()

    simulator = Simulator(reactor, services=[ServiceSpec("echo", 1, processor=ponder)])
    simulator.startService()
    client = client_of(simulator)
    await client.init()
    ended: list[Any] = []
    client.predict("hello").addBoth(ended.append)
    await arrived
    assert len(simulator.instance("echo-0").server.connections) == 1
    await simulator.stopService()
    assert not simulator.connections
    assert not simulator.instance("echo-0").server.connections
    await client.close()
    assert [type(failure.value) for failure in ended] == [ConnectionFailed]


@pytest_twisted.ensureDeferred
async def test_faults_can_be_added_in_the_context_manager() -> None:
    async with Simulator(reactor, services=[ServiceSpec("echo", 3)], seed=7) as simulator:
        simulator.faults.add(Fault("latency", Target("echo"), {"latency": 1}))
        simulator.instance("echo-0").crash()
        async with client_of(simulator) as client:
            for _ in range(10):
                assert str(await client.predict("[]")) == "[]"
        assert simulator.journal.total == 10
        assert {activation.type for activation in simulator.faults.activations} == {"latency"}
