"""Use the fixtures with pytest-twisted: our client on its reactor, the simulator in another process."""

import pytest_twisted
from twisted.internet import reactor

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient


@pytest_twisted.ensureDeferred
async def test_no_call_is_lost_when_an_instance_crashes(eas_service):
    client = PredictClient(
        eas_service.endpoint,
        eas_service.name,
        token=eas_service.token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=ClientConfig(seed=7),
    )
    async with client:
        for number in range(30):
            if number == 10:
                eas_service.crash(0)
            assert (await client.predict(f"call {number}")).content == f"call {number}".encode()
    assert eas_service.count(status=200) == 30


@pytest_twisted.ensureDeferred
async def test_a_simulator_in_this_process():
    from simulator import ServiceSpec, Simulator

    async with Simulator(reactor, services=[ServiceSpec("echo", 1)]) as simulator:
        client = PredictClient(simulator.url, "echo", endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor)
        async with client:
            assert str(await client.predict("here")) == "here"
        assert simulator.journal.total == 1
