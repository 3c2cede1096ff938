"""An application that calls EAS, and its tests: see docs/simulator/pytest.md."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient


def connect(endpoint, service, token):
    """Create your application's client."""
    return PredictClient(
        endpoint,
        service,
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )


@pytest_twisted.ensureDeferred
async def test_it_answers(eas_service):
    async with connect(
        eas_service.endpoint, eas_service.name, eas_service.token
    ) as client:
        assert str(await client.predict("hello")) == "hello"


# -- 2


@pytest_twisted.ensureDeferred
async def test_no_call_is_lost_when_an_instance_crashes(eas_service):
    async with connect(
        eas_service.endpoint, eas_service.name, eas_service.token
    ) as client:
        eas_service.crash(0)
        for number in range(20):
            assert str(await client.predict(f"call {number}")) == f"call {number}"


@pytest_twisted.ensureDeferred
async def test_a_lie_of_discovery_changes_nothing(eas_service):
    async with connect(
        eas_service.endpoint, eas_service.name, eas_service.token
    ) as client:
        eas_service.discovery_fault("empty_list")
        for _ in range(20):
            await client.predict("still there")


# -- 3


@pytest_twisted.ensureDeferred
async def test_a_refused_call_goes_to_another_instance(eas_service):
    eas_service.fault("http_status", 0, code=503, when={"times": 1})
    async with connect(
        eas_service.endpoint, eas_service.name, eas_service.token
    ) as client:
        for _ in range(6):
            await client.predict("hello")
    assert eas_service.count(0, status=503) == 1
    assert eas_service.count(status=200) == 6


# -- 4


@pytest.mark.eas_service(
    instances=5,
    weights=[100, 100, 50],
    processor="mnist",
    workers=2,
    queue=4,
    processing=0.05,
)
def test_a_small_overloaded_model(eas_service):
    assert len(eas_service.instances) == 5
