"""The official Python SDK, unmodified, against `python -m simulator`, compared with ours.

These tests run in a separate environment (`tox -e official-sdk`), because the SDK requires protobuf 3.20. The
expected behaviour of the SDK is from its public documentation and from observation.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import eas_prediction
import pytest
import pytest_twisted

import eas_tw
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TYPES = {
    "direct": (eas_prediction.ENDPOINT_TYPE_DIRECT, eas_tw.ENDPOINT_TYPE_DIRECT),
    "default": (eas_prediction.ENDPOINT_TYPE_DEFAULT, eas_tw.ENDPOINT_TYPE_DEFAULT),
}
SCORECARD, MNIST = "scorecard_pmml_example", "mnist_saved_model_example"
BODIES = ['[{"money_credit": 3000000}, {"money_credit": 10000}]', "", '{"名": "值"}']


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("simulator")
    with Served(folder, "--service", f"{SCORECARD}=2", "--service", f"{MNIST}=2", "--token", "t0ken") as running:
        yield running


def official(served: Served, service: str, kind: str, token: str = "t0ken") -> Any:
    """Make a client of the official SDK, as its documentation shows."""
    client = eas_prediction.PredictClient(served.ready["url"], service)
    client.set_token(token)
    client.set_endpoint_type(TYPES[kind][0])
    client.init()
    return client


async def ours(served: Served, service: str, kind: str, requests: list[Any]) -> list[Any]:
    """Return the responses to our client."""
    async with eas_tw.PredictClient(
        served.ready["url"], service, token="t0ken", endpoint_type=TYPES[kind][1]
    ) as client:
        return [await client.predict(request) for request in requests]


def images(seed: int) -> list[float]:
    return [((pixel * seed) % 17) / 16 for pixel in range(784)]


@pytest.mark.parametrize("kind", TYPES)
@pytest_twisted.ensureDeferred
async def test_both_clients_get_the_same_strings(served: Served, kind: str) -> None:
    """Both clients send equal bodies with both endpoint types, and the responses equal these bodies."""
    client = official(served, SCORECARD, kind)
    theirs = [client.predict(eas_prediction.StringRequest(body)).response_data for body in BODIES]
    client.destroy()
    mine = await ours(served, SCORECARD, kind, [eas_tw.StringRequest(body) for body in BODIES])
    assert [response.content for response in mine] == theirs == [body.encode() for body in BODIES]


@pytest.mark.parametrize("kind", TYPES)
@pytest_twisted.ensureDeferred
async def test_scores_are_equal_bit_for_bit(served: Served, kind: str) -> None:
    """Ten images are scored through the official SDK and through ours."""

    def filled(request: Any, seed: int) -> Any:
        request.add_feed("images", [1, 784], request.DT_FLOAT, images(seed))
        return request

    client = official(served, MNIST, kind)
    theirs = [client.predict(filled(eas_prediction.TFRequest("predict_images"), seed)) for seed in range(1, 11)]
    client.destroy()
    mine = await ours(served, MNIST, kind, [filled(eas_tw.TFRequest("predict_images"), seed) for seed in range(1, 11)])
    for one, two in zip(mine, theirs, strict=True):
        assert one.get_tensor_shape("scores") == list(two.get_tensor_shape("scores")) == [1, 10]
        assert one.get_values("scores") == list(two.get_values("scores"))
    assert len({tuple(one.get_values("scores")) for one in mine}) == 10


@pytest_twisted.ensureDeferred
async def test_official_request_objects_work_in_our_client(served: Served) -> None:
    """A request is any object with `to_string` and `parse_response`. The response is of the official class."""
    request = eas_prediction.TFRequest("predict_images")
    request.add_feed("images", [1, 784], request.DT_FLOAT, images(3))
    ((response),) = await ours(served, MNIST, "direct", [request])
    assert len(list(response.get_values("scores"))) == 10


@pytest.mark.parametrize("kind", TYPES)
def test_a_wrong_token_is_refused(served: Served, kind: str) -> None:
    """The official SDK reports status 401 of the simulator."""
    client = official(served, SCORECARD, kind, token="wrong")
    with pytest.raises(eas_prediction.PredictException, match="401"):
        client.predict(eas_prediction.StringRequest("x"))
    client.destroy()


def test_the_simulator_checks_signatures_of_the_official_sdk(served: Served) -> None:
    """A request of the SDK is signed. Repeated with another body or path, it has the wrong signature."""
    service = {"name": "signed", "instances": 1, "token": "t0ken", "processor": "echo", "capture_bytes": 0}
    instance = served.admin("POST", "/v1/services", service)[1]["instances"][0]
    client = official(served, "signed", "direct")
    client.predict(eas_prediction.StringRequest("[]"))
    client.destroy()
    row = served.admin("GET", "/v1/requests?content=1&service=signed")[1]["requests"][-1]
    headers = row["content"]["request"]["headers"]
    assert headers["authorization"].startswith("EAS ")
    signed = {name: headers[name] for name in ("authorization", "date", "content-type", "content-md5")}
    for path, body, status in ((row["path"], b"[]", 200), (row["path"], b"[1", 401), (f"{row['path']}/v2", b"[]", 401)):
        assert served.ask(instance, "POST", path, body, signed)[0] == status


def test_the_official_sdk_calls_all_instances(served: Served) -> None:
    served.admin("POST", "/v1/reset", {})
    client = official(served, SCORECARD, "direct")
    for _ in range(20):
        client.predict(eas_prediction.StringRequest("[]"))
    client.destroy()
    rows = served.admin("GET", "/v1/requests")[1]["requests"]
    assert [row["status"] for row in rows] == [200] * 20
    assert {row["instance"] for row in rows} == {f"{SCORECARD}-0", f"{SCORECARD}-1"}


def test_the_official_sdk_fails_over_from_a_crashed_instance(served: Served) -> None:
    """With one thread, the attempts of the SDK rotate over the instances, so each call succeeds."""
    served.admin("POST", "/v1/reset", {})
    client = official(served, SCORECARD, "direct")
    served.patch(SCORECARD, f"{SCORECARD}-0", state="crashed")
    for number in range(50):
        body = json.dumps([number])
        assert client.predict(eas_prediction.StringRequest(body)).response_data == body.encode()
    client.destroy()
    served.admin("POST", "/v1/reset", {})
