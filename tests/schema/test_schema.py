"""Each operation of the OpenAPI document, called by a generic client.

Schemathesis sends requests that match the document and requests that do not match it. It checks that the document
describes each response (status, media type, shape), no status is 500, and only invalid input is rejected.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.request import urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.generation import GenerationMode
from twisted.internet.task import Clock

from eas_tw.testing import Remote
from simulator.simulator import Simulator
from tests.simulator.serving import Served

NAMES = {"service": ["echo", "group%2Frank"], "instance": ["echo-0", "echo-1"], "name": ["f"]}
CALLED: set[tuple[str, str]] = set()
EXAMPLES = settings(
    max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    services = ("--service", "echo=2", "--service", "group/rank=1")
    with Served(tmp_path_factory.mktemp("served"), *services, "--zones", "a", "--token", "t0ken") as served:
        yield Remote(served.ready["url"])


DOCUMENT = Simulator(Clock()).admin.describe()
OPERATIONS = sorted(
    (path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item if path != "/v1/events"
)


ASKED = [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS] + [
    (path, method, GenerationMode.NEGATIVE)
    for path, method in OPERATIONS
    if "requestBody" in DOCUMENT["paths"][path][method.lower()]
]


@pytest.mark.parametrize(("path", "method", "mode"), ASKED)
def test_answers_are_what_the_document_says(remote: Remote, path: str, method: str, mode: GenerationMode) -> None:
    loaded = schemathesis.openapi.from_dict(DOCUMENT)
    operation = loaded[path][method]
    turns = itertools.count()

    @EXAMPLES
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        turn = next(turns)
        if case.path_parameters and turn % 3 and mode is GenerationMode.POSITIVE:
            case.path_parameters = {name: NAMES[name][turn % len(NAMES[name])] for name in case.path_parameters}
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            _mean(path, case.body)
        if path == "/v1/faults/{name}":
            remote.add_fault("latency", {"service": "echo"}, when={"name": "f"})
        CALLED.add((path, method))
        response = case.call(base_url=remote.admin_url)
        # Schemathesis expects 400 for an invalid body, but a body that is too large is rejected before it is read.
        if response.status_code != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            case.validate_response(response)
        if method != "GET":
            _restore(remote)

    ask()


def _mean(path: str, body: Any) -> None:
    """Change a body to follow rules that the schema cannot express: existing names, number of weights, settings."""
    if path == "/v1/faults":
        body.pop("name", None)
        known = {"service": "echo", "instance": "echo-0", "zone": "a"}
        body["target"] = {name: known.get(name, value) for name, value in body["target"].items()}
    if path == "/v1/services":
        body["instances"] = min(int(body.get("instances", 3)), 5)
        body["weights"] = body.get("weights", [])[: body["instances"]]
        body["processing"] = 0.5
        if str(body.get("processor")).startswith("llm:"):
            body["processor"] = "llm:ttft=0.1"
    if path.endswith("/stubs"):
        _mean_stub(body)


def _mean_stub(body: Any) -> None:
    """Change a stub to follow rules of stubs: one kind of body, decodable base64, and headers without line breaks."""
    responses = body.get("responses", [])
    for message in (body.get("request", {}), *responses):
        message.pop("body_base64", None)
        if "json" in message and message in responses:
            message.pop("body", None)
        if "headers" in message:
            message["headers"] = {"x-mine": "1"}


def _restore(remote: Remote) -> None:
    remote.reset(seed=7)
    names = {service["name"] for service in remote.services()}
    for name in {"echo", "group/rank"} - names:
        remote.add_service(name, instances=2, zones=["a"])
    for name in names - {"echo", "group/rank"}:
        remote.remove_service(name)


def test_the_event_stream_matches_the_document(remote: Remote) -> None:
    """Only the media type and the first event are checked, because the stream has no end."""
    with remote.events(rate=0) as events:
        event, state = next(iter(events))
    assert (event, [service["name"] for service in state["services"]]) == ("state", ["echo", "group/rank"])
    described = DOCUMENT["paths"]["/v1/events"]["get"]["responses"]
    assert list(described["200"]["content"]) == ["text/event-stream"]


def test_the_document_is_openapi_3_1(remote: Remote) -> None:
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)
    assert remote.ask("GET", "/openapi.json") == DOCUMENT


def test_the_metrics_are_prometheus_metrics(remote: Remote) -> None:
    remote.reset()
    with urlopen(f"{remote.admin_url}/metrics") as answer:  # noqa: S310
        families = {family.name for family in text_string_to_metric_families(answer.read().decode())}
    assert {"eas_simulator_instance_state", "eas_simulator_connections"} <= families


def test_every_operation_was_called() -> None:
    """This must be the last test of the module."""
    assert set(OPERATIONS) == CALLED
