"""Queue services in the admin API, metrics, command line, scenarios and start banner."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from simulator import ServiceSpec
from simulator.admin import checking
from simulator.queues.frames import WatchSettings
from simulator.scenario import ScenarioError
from simulator.scenario_reader import parse
from simulator.service_spec import SpecError
from tests.simulator.serving import Served, run
from tests.simulator.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from eas_tw.testing import RemoteService

QUEUE = {"name": "q", "instances": 1, "queue_service": True, "queue_workers": False}


@pytest.fixture
def world() -> World:
    return World()


def put(world: World, *bodies: bytes, service: str = "q") -> Any:
    queues = world.simulator.services[service].queues
    assert queues is not None
    for body in bodies:
        queues.input.put(body, {})
    return queues


def test_a_queue_service_can_be_added_read_and_emptied(world: World) -> None:
    status, made = world.ask("POST", "/v1/services", {**QUEUE, "input_length": 5, "max_payload_bytes": 100})
    assert (status, made["is_queue_service"]) == (201, True)
    queue = put(world, b"one", b"two", b"three").input
    consumer = queue.store.join("g", "u", WatchSettings(window=2), queue.now)
    queue.store.take("g", consumer, queue.now)
    queue.store.commit("g", [2], queue.now)
    found, sink = world.ask("GET", "/v1/services/q/queues")[1]["queues"]
    assert found == {
        "name": "q",
        "length": 3,
        "max_length": 5,
        "pending": 1,
        "consumers": 1,
        "first_index": 1,
        "last_index": 3,
        "has_ended": False,
        "groups": [
            {
                "name": "g",
                "waiting": 1,
                "pending": 1,
                "committed": 1,
                "consumers": [
                    {
                        "user": "u",
                        "status": "Running",
                        "pending": 1,
                        "window": 2,
                        "auto_commit": False,
                        "last_index": 1,
                    }
                ],
            }
        ],
    }
    assert (sink["name"], sink["length"]) == ("q/sink", 0)
    assert world.response("DELETE", "/v1/services/q/queues").status == 204
    assert world.ask("GET", "/v1/services/q/queues")[1]["queues"][0]["length"] == 0


def test_the_response_matches_the_openapi_document(world: World) -> None:
    world.ask("POST", "/v1/services", QUEUE)
    queue = put(world, b"one").input
    queue.store.join("g", "u", WatchSettings(), queue.now)
    schemas = world.ask("GET", "/openapi.json")[1]["components"]["schemas"]
    for found in world.ask("GET", "/v1/services/q/queues")[1]["queues"]:
        assert checking.problem(schemas["Queue"], found) == ""


def test_another_service_has_no_queues(world: World) -> None:
    assert world.ask("GET", "/v1/services/echo/queues") == (200, {"queues": []})
    assert world.ask("GET", "/v1/services/echo")[1]["is_queue_service"] is False


def test_names_that_clients_chose_are_masked(world: World) -> None:
    world.ask("POST", "/v1/services", {**QUEUE, "token": "hidden!"})
    queue = put(world, b"one").input
    queue.store.join("g-hidden!", "u-hidden!", WatchSettings(), queue.now)
    assert "hidden!" not in json.dumps(world.ask("GET", "/v1/services/q/queues"))


def test_the_page_receives_length_pending_and_consumers_each_second(world: World) -> None:
    world.ask("POST", "/v1/services", QUEUE)
    queue = put(world, b"one", b"two").input
    consumer = queue.store.join("g", "u", WatchSettings(), queue.now)
    queue.store.take("g", consumer, queue.now)
    assert world.simulator.admin.hub.tick()["queues"] == {"q": [[2, 1, 1], [0, 0, 0]]}


def test_the_metrics_have_length_pending_and_consumers_of_each_queue(world: World) -> None:
    world.ask("POST", "/v1/services", QUEUE)
    put(world, b"one", b"two")
    text = world.ask("GET", "/metrics")[1]
    assert 'eas_simulator_queue_length{queue="q"} 2\n' in text
    assert 'eas_simulator_queue_length{queue="q/sink"} 0\n' in text
    assert 'eas_simulator_queue_pending{queue="q"} 0\n' in text
    assert 'eas_simulator_queue_consumers{queue="q"} 0\n' in text


@pytest.mark.eas_service(instances=2, queue_service=True, token="t0ken")
def test_a_test_of_an_application_has_a_queue_service_by_a_marker(eas_service: RemoteService) -> None:
    remote, name = eas_service.simulator, eas_service.name
    assert [queue["name"] for queue in remote.queues(name)] == [name, f"{name}/sink"]
    assert [group["name"] for group in remote.queues(name)[0]["groups"]] == ["workers"]
    remote.clear_queues(name)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("queue_service", 1, "service q: queue_service must be true or false, got 1"),
        ("queue_workers", "no", "service q: queue_workers must be true or false, got 'no'"),
        ("input_length", 0, "service q: input_length must be a whole number from 1 to 1e+06, got 0"),
        ("max_payload_bytes", 0, "service q: max_payload_bytes must be a whole number from 1 to 6.71089e+07, got 0"),
    ],
)
def test_a_wrong_field_of_a_queue_service_is_one_line(field: str, value: Any, says: str) -> None:
    given: dict[str, Any] = {field: value}
    with pytest.raises(SpecError) as caught:
        ServiceSpec("q", **given)
    assert str(caught.value) == says


def test_a_scenario_has_queue_services() -> None:
    fields = {"queue_service": True, "queue_workers": False, "input_length": 9, "sink_length": 8}
    (spec,) = parse({"services": [{"name": "q", "instances": 1, "max_payload_bytes": 7, **fields}]}).services
    assert (spec.queue_service, spec.queue_workers) == (True, False)
    assert (spec.input_length, spec.sink_length, spec.max_payload_bytes) == (9, 8, 7)
    with pytest.raises(ScenarioError, match=r"\$\.services\[0\]: service q: sink_length must be"):
        parse({"services": [{"name": "q", "sink_length": 0}]})


def test_the_banners_commands_put_a_frame_and_get_its_result(tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "q=1", "--queue-service", "q", "--token", "t0ken") as served:
        lines = [line.strip() for line in served.output.splitlines() if line.startswith("  curl")]
        url, header = f"{served.ready['url']}/api/predict/q", {"Authorization": "t0ken"}
        query = "_timeout_=5s&_raw_=true&_auto_delete_=true"
        call = 'curl -H "Authorization: $EAS_TOKEN"'
        assert lines[1:] == [f"{call} -d '[1]' {url}", f"{call} '{url}/sink?{query}'"]
        assert served.raw("POST", "/api/predict/q", b"[1]", header) == (200, b"1")
        assert served.raw("GET", f"/api/predict/q/sink?{query.replace('5s', '60s')}", b"", header) == (200, b"[1]")
    assert served.code == 0


def test_a_queue_service_that_is_no_service_is_an_error_of_the_command_line() -> None:
    done = run("--service", "q=1", "--queue-service", "other")
    assert done.returncode == 2
    assert "argument --queue-service: no service other; name it with --service other=N" in done.stderr
