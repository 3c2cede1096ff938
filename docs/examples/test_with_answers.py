"""Tests with canned answers: see docs/simulator/pytest.md."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from eas_tw import ENDPOINT_TYPE_DIRECT, JsonRequest, PredictClient, StatusError
from eas_tw.testing import answer, matching


def connect(service):
    """Create your application's client."""
    return PredictClient(
        service.endpoint, service.name, token=service.token,
        endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor,
    )  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_canned_answers(eas_service):
    eas_service.answers(json={"score": 0.9}, on=matching(json={"user": 7}))
    eas_service.answers(answer(status=503), answer(json={"score": 0.1}))
    async with connect(eas_service) as client:
        assert (await client.predict(JsonRequest({"user": 7}))).data == {
            "score": 0.9
        }
        # The first response is 503, so the call is retried on another instance.
        assert (await client.predict(JsonRequest({"user": 8}))).data == {
            "score": 0.1
        }
    eas_service.assert_all_requests_came()
    assert eas_service.received()[0].json() == {"user": 7}


# -- 2


def score(request):
    """Runs in the test's process, for every request."""
    return answer(json={"length": len(request.text)})


@pytest.mark.eas_service(processor=score, instances=1)
@pytest_twisted.ensureDeferred
async def test_a_function_that_answers(eas_service):
    async with connect(eas_service) as client:
        assert (await client.predict(JsonRequest("four"))).data == {"length": 6}


# -- 3


@pytest.mark.eas_service(verify=True)
@pytest_twisted.ensureDeferred
async def test_exactly_one_request(eas_service):
    eas_service.answers(status=400, body="no such user", times=1)
    async with connect(eas_service) as client:
        with pytest.raises(StatusError, match="no such user"):
            await client.predict("user 9")
