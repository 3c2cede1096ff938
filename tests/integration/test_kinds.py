"""Each request class with the client over real sockets; the service parses the requests with protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_twisted
from twisted.internet import reactor

from eas_tw import (
    ENDPOINT_TYPE_DIRECT,
    BodyError,
    CaffeRequest,
    JsonRequest,
    PredictClient,
    StatusError,
    TFRequest,
    TorchRequest,
)
from tests.simulator.kinds import CASES, scenario
from tests.simulator.serving import Served
from tests.simulator.test_body_processors import SDK, process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("kinds")
    with Served(folder, *scenario(folder, ("caffe", "echo-caffe"), ("json", "echo-json"))) as running:
        yield running


def client_of(served: Served, service: str, **settings: Any) -> PredictClient:
    return PredictClient(
        served.ready["url"], service, token="t0ken", endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor, **settings
    )


@pytest.mark.parametrize("name", CASES)
@pytest_twisted.ensureDeferred
async def test_each_kind_of_request_gets_its_kind_of_response(served: Served, name: str) -> None:
    case = CASES[name]
    request = case.build(SDK)
    expected = case.read(request.parse_response(process(case.processor, request.to_string())))
    async with client_of(served, name) as client:
        for _ in range(2):
            assert case.read(await client.predict(request)) == expected


@pytest_twisted.ensureDeferred
async def test_caffe_and_json_requests_get_caffe_and_json_responses(served: Served) -> None:
    request = CaffeRequest()
    request.add_feed("data", content=np.ones((2, 2), "f4"))
    async with client_of(served, "caffe") as client:
        assert (await client.predict(request)).as_numpy("data").tolist() == [[1, 1], [1, 1]]
    async with client_of(served, "json") as client:
        assert (await client.predict(JsonRequest({"x": [1.5]}))).data == {"x": [1.5]}


@pytest_twisted.ensureDeferred
async def test_a_request_may_change_while_it_is_sent(served: Served) -> None:
    pixels = np.zeros((1, 2), np.float32)
    request = TorchRequest()
    calls = []
    async with client_of(served, "torch") as client:
        for value in range(20):
            pixels[:] = value
            request.add_feed(0, None, None, pixels)
            calls.append(client.predict(request))
        assert [(await call).get_values(0) for call in calls] == [[value] for value in range(20)]


@pytest_twisted.ensureDeferred
async def test_a_wrong_kind_of_request_or_response_is_an_error(served: Served) -> None:
    async with client_of(served, "torch") as client:
        with pytest.raises(StatusError, match=r"400.*not a torch\.PredictRequest"):
            await client.predict('{"x": 1}')
    async with client_of(served, "json") as client:
        request = TFRequest("s")
        request.to_string = lambda: b'{"error": "busy"}'  # type: ignore[method-assign]  # a service that answers errors with 200
        with pytest.raises(BodyError, match=r"no TensorFlow body.*busy"):
            await client.predict(request)
