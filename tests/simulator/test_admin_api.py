"""The admin API without a network: operations, OpenAPI document, metrics, and access control."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import CannotListenError

from eas_tw.testing import Remote
from simulator.admin import checking, components
from simulator.fault_kinds import ON_DISCOVERY, ON_INSTANCES
from simulator.masking import MASK
from tests.simulator.serving import Served
from tests.simulator.world import World


@pytest.fixture
def world() -> World:
    return World()


class TestDocument:
    """The OpenAPI document, which is generated from the routing table."""

    def test_every_operation_is_described(self, world: World) -> None:
        document = world.ask("GET", "/openapi.json")[1]
        described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
        assert described == {(operation.method, operation.path) for operation in world.simulator.admin.operations}
        names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
        assert len(set(names)) == len(names)
        assert document["openapi"].startswith("3.1")

    def test_every_reference_can_be_resolved(self, world: World) -> None:
        document = world.ask("GET", "/openapi.json")[1]
        references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
        assert len(references) >= 10
        for reference in references:
            found = document
            for part in reference.split("/"):
                found = found[part]

    def test_every_type_of_fault_is_in_it(self, world: World) -> None:
        document = world.ask("GET", "/openapi.json")[1]
        titles = {one["title"] for one in document["components"]["schemas"]["NewFault"]["oneOf"]}
        assert titles == {f"{t} on instances" for t in ON_INSTANCES} | {f"{t} on discovery" for t in ON_DISCOVERY}

    @pytest.mark.parametrize(
        ("target", "component"),
        [
            ("/v1/state", "State"),
            ("/v1/services/echo", "Service"),
            ("/v1/services/echo/instances/echo-0", "Instance"),
            ("/v1/faults/f", "Fault"),
            ("/v1/discovery", None),
            ("/v1/fault-types", None),
            ("/v1/requests", None),
            ("/v1/activations", None),
            ("/v1/connections", None),
        ],
    )
    def test_responses_match_the_document(self, world: World, target: str, component: str | None) -> None:
        world.row(status=503)
        world.ask("POST", "/v1/faults", {"name": "f", "type": "latency", "target": {"service": "echo"}})
        document = world.ask("GET", "/openapi.json")[1]
        status, value = world.ask("GET", target)
        assert status == 200
        schemas = document["components"]["schemas"]
        if component:
            schema = schemas[component]
        else:
            schema = document["paths"][target]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert checking.problem(_resolved(schema, schemas), value) == ""

    def test_wrapped_descriptions_are_complete(self) -> None:
        """The document has the descriptions of the attributes of classes, from their docstrings."""

        class Described:
            """A value.

            Attributes:
                short: One line.
                long: A line,
                    another: with a colon,
                    and the last.

            Raises:
                ValueError: Never.
            """

        expected = {"short": "One line.", "long": "A line, another: with a colon, and the last."}
        assert components._said(Described) == expected


def _resolved(schema: Any, schemas: Any) -> Any:
    if isinstance(schema, list):
        return [_resolved(item, schemas) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    return {name: _resolved(value, schemas) for name, value in schema.items()}


def taken(*_: object, **__: object) -> None:
    """Refuse to listen, as a reactor does if another program has bound the port."""
    raise CannotListenError("127.0.0.1", 50000, OSError("in use"))


def test_a_restart_that_cannot_listen_is_409_and_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/v1/services/echo/instances/echo-0"
    world.ask("PATCH", path, {"state": "crashed"})
    monkeypatch.setattr(world.clock, "listenTCP", taken)
    status, problem = world.ask("PATCH", path, {"state": "running", "weight": 3})
    assert (status, problem["detail"]) == (409, "the instance's port 50000 is taken: in use")
    instance = world.ask("GET", path)[1]
    assert (instance["state"], instance["weight"]) == ("crashed", 100)


def test_a_reset_that_cannot_start_an_instance_is_409_and_resets_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ask("DELETE", "/v1/services/echo/instances/echo-0")
    world.ask("PATCH", "/v1/services/group%2Frank/instances/group.rank-0", {"weight": 3})
    monkeypatch.setattr(world.clock, "listenTCP", taken)
    status, problem = world.ask("POST", "/v1/reset", {"seed": 9})
    assert status == 409
    assert problem["detail"] == "instance echo-0 cannot be started: port 50000 is taken; everything else is reset"
    state = world.ask("GET", "/v1/state")[1]
    assert state["seed"] == 9
    assert [instance["id"] for service in state["services"] for instance in service["instances"]] == [
        "echo-1",
        "group.rank-0",
    ]
    assert world.simulator.instance("group.rank-0").weight == 100


def test_numbers_of_json_are_checked_by_value(world: World) -> None:
    """3.0 is an integer, and NaN is not valid JSON."""
    assert world.ask("POST", "/v1/reset", {"seed": 3.0}) == (200, {"seed": 3})
    assert world.ask("POST", "/v1/reset", {"seed": 3.5})[0] == 422
    assert world.ask("POST", "/v1/reset", {"seed": float("nan")})[0] == 400


class TestServices:
    """Adding and removing services."""

    def test_a_service_can_be_added_and_removed(self, world: World) -> None:
        wanted = {"name": "a/b", "instances": 2, "weights": [5], "token": "hidden!", "workers": 2, "zones": ["x", "y"]}
        status, made = world.ask("POST", "/v1/services", wanted)
        assert (status, made["has_token"]) == (201, True)
        assert [(i["weight"], i["zone"]) for i in made["instances"]] == [(5, "x"), (100, "y")]
        assert "hidden!" not in json.dumps(world.ask("GET", "/v1/state"))
        assert world.ask("GET", "/v1/services/a%2Fb")[1]["name"] == "a/b"
        world.ask("POST", "/v1/faults", {"type": "latency", "target": {"service": "a/b"}})
        world.ask("POST", "/v1/reset", {})
        assert world.ask("GET", "/v1/services/a%2Fb")[0] == 200
        world.ask("POST", "/v1/faults", {"type": "latency", "target": {"service": "a/b"}})
        assert world.response("DELETE", "/v1/services/a%2Fb").status == 204
        assert world.ask("GET", "/v1/services/a%2Fb")[0] == 404
        assert world.ask("GET", "/v1/faults")[1] == {"faults": []}

    @pytest.mark.parametrize(
        ("wanted", "status", "says"),
        [
            ({"name": "echo"}, 409, "already"),
            (
                {"name": "group.rank"},
                422,
                "$: service group.rank: its instances would have the ids of those of group/rank",
            ),
            ({}, 422, "$.name: missing"),
            ({"name": "a b"}, 422, "$.name"),
            ({"name": "x", "instances": 1, "weights": [1, 2]}, 422, "2 weights"),
            ({"name": "x", "processor": "os:system"}, 422, "$.processor"),
            ({"name": "x", "processor": "sleep:fast"}, 422, "sleep:fast"),
            ({"name": "x", "workers": 0}, 422, "$.workers"),
            ({"name": "x", "token": "ключ"}, 422, "$.token: expected a string of visible ASCII"),
            ({"name": "x", "token": "abc\n"}, 422, "$: service x: token must be a string of visible ASCII"),
        ],
    )
    def test_an_invalid_service_is_refused(self, world: World, wanted: Any, status: int, says: str) -> None:
        """Only built-in processors are allowed, because a request must not run other code on this machine."""
        answered, problem = world.ask("POST", "/v1/services", wanted)
        assert answered == status
        assert says in problem["detail"]
        assert wanted.get("token", MASK) not in problem["detail"]
        assert len(world.simulator.services) == 2

    def test_an_instance_scaled_in_leaves_the_list_first(self, world: World) -> None:
        assert world.response("DELETE", "/v1/services/echo/instances/echo-1?grace_s=30").status == 204
        world.clock.advance(30)
        assert list(world.simulator.services["echo"].instances) == ["echo-0"]

    def test_an_instance_that_has_work_finishes_it(self, tmp_path: Path) -> None:
        with (
            Served(tmp_path, "--service", "echo=2", "--token", "", "--processing", "60", "--keepalive", "0") as served,
            socket.create_connection((served.instances[1]["ip"], served.instances[1]["port"])) as busy,
        ):
            busy.sendall(b"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            path = "/v1/services/echo/instances/echo-1"
            with Remote(served.ready["url"]).events() as events:
                next(value for event, value in events if event == "tick" and value["instances"]["echo-1"][2])
            assert served.admin("DELETE", f"{path}?grace_s=30")[0] == 204
            assert len(served.discover("echo")) == 1
            assert served.admin("GET", path)[1]["state"] == "draining"
            assert served.admin("DELETE", path)[0] == 204
            assert served.admin("GET", path)[0] == 404


class TestJournal:
    """Queries of the journal."""

    def test_filters(self, world: World) -> None:
        """Rows are filtered by equal fields, by a class of statuses, and with `after` by a minimum row number."""
        for status in (200, 503, 500, 450):
            world.row(status=status)
        world.row("echo-1")
        numbers = lambda query: [r["number"] for r in world.ask("GET", f"/v1/requests?{query}")[1]["requests"]]  # noqa: E731
        assert numbers("status=5xx") == [2, 3]
        assert numbers("status=450") == [4]
        assert numbers("instance=echo-1") == [5]
        assert numbers("after=3&limit=1") == [5]
        assert numbers("limit=0") == []
        assert world.ask("GET", "/v1/requests?status=many")[0] == 400
        assert world.ask("GET", "/v1/requests?limit=-1")[0] == 400

    def test_a_misspelt_filter_is_refused(self, world: World) -> None:
        status, problem = world.ask("GET", "/v1/requests?stauts=200")
        assert (status, "stauts" in problem["detail"]) == (400, True)

    def test_no_token_is_shown_wherever_a_client_has_put_it(self, world: World) -> None:
        world.row(path="/api/predict/echo?token=s3cret")
        assert world.ask("GET", "/v1/requests")[1]["requests"][0]["path"] == "/api/predict/echo?token=•••"
        listener = world.listen()
        world.row(path="/api/predict/echo?token=s3cret")
        world.clock.advance(0.1)
        assert "s3cret" not in listener.transport.value().decode()


class TestActivations:
    """The list of activations, which also contains the activations of removed faults."""

    def test_activations_on_discovery_are_listed_until_a_reset(self, world: World) -> None:
        wanted = {"name": "bad-list", "type": "empty_list", "target": {"discovery": True}, "times": 2}
        assert world.ask("POST", "/v1/faults", wanted)[0] == 201
        world.discover("echo")
        assert world.ask("GET", "/v1/faults/bad-list")[1]["struck"] == 1
        world.discover("group/rank")
        world.discover("echo")
        assert world.ask("GET", "/v1/faults/bad-list")[0] == 404
        found = world.ask("GET", "/v1/activations")[1]
        assert found["total"] == 2
        assert [(s["fault"], s["type"], s["service"], s["instance"]) for s in found["activations"]] == [
            ("bad-list", "empty_list", "echo", ""),
            ("bad-list", "empty_list", "group/rank", ""),
        ]
        world.ask("POST", "/v1/reset", {})
        assert world.ask("GET", "/v1/activations")[1] == {"activations": [], "total": 0}

    def test_filters(self, world: World) -> None:
        """Filters are fault, type, service and instance. `limit` returns the newest. An unknown filter is refused."""
        for name, type_ in (("a", "empty_list"), ("b", "garbage")):
            world.ask("POST", "/v1/faults", {"name": name, "type": type_, "target": {"discovery": True}})
        world.discover("echo")
        world.discover("group/rank")

        def names(query: str) -> list[str]:
            return [
                s["fault"] + s["service"][0] for s in world.ask("GET", f"/v1/activations?{query}")[1]["activations"]
            ]

        assert names("") == ["ae", "be", "ag", "bg"]
        assert names("fault=a") == names("type=empty_list") == ["ae", "ag"]
        assert names("service=echo") == ["ae", "be"]
        assert names("fault=b&limit=1") == ["bg"]
        assert names("limit=0") == names("instance=echo-0") == []
        assert world.ask("GET", "/v1/activations?falt=a")[0] == 400


class TestDiscovery:
    """The last reply of discovery for a service."""

    def test_the_last_reply_is_returned_as_it_was_sent(self, world: World) -> None:
        """The reply has the effects of faults. The status is 404 before the first reply and after a reset."""
        assert world.ask("GET", "/v1/services/echo/discovery")[0] == 404
        world.discover("echo")
        world.ask("POST", "/v1/faults", {"type": "garbage", "target": {"discovery": True, "service": "group/rank"}})
        world.discover("group/rank")
        echo, rank = world.ask("GET", "/v1/discovery")[1]["replies"]
        assert (echo["answer"], echo["status"], json.loads(echo["body"])["correlative"]) == ("ok", 200, ["echo"])
        assert (rank["answer"], rank["body"]) == ("garbage", "<html>busy</html>")
        assert world.ask("GET", "/v1/services/group%2Frank/discovery")[1] == rank
        world.ask("POST", "/v1/reset", {})
        assert world.ask("GET", "/v1/discovery")[1] == {"replies": []}


class TestMetrics:
    """Metrics for Prometheus."""

    def test_every_line_of_the_metrics_is_valid(self, world: World) -> None:
        world.row(path='/"\\\n', fault="f")
        world.ask("POST", "/v1/faults", {"name": 'a"b\\', "type": "latency", "target": {"service": "echo"}})
        text = world.ask("GET", "/metrics")[1]
        label = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
        line = re.compile(rf"# (HELP|TYPE) \w+ .+|\w+(\{{{label}(,{label})*\}})? [-+0-9.e]+(Inf)?")
        assert [one for one in text.splitlines() if not line.fullmatch(one)] == []

    def test_counts_and_states(self, world: World) -> None:
        world.row(status=503, elapsed_s=0.004)
        world.row(elapsed_s=99.0)
        world.ask("PATCH", "/v1/services/echo/instances/echo-1", {"state": "hung", "weight": 7, "registered": False})
        lines = world.ask("GET", "/metrics")[1].splitlines()
        for wanted in (
            'requests_total{service="echo",instance="echo-0",status="503"} 1',
            'request_duration_seconds_bucket{service="echo",instance="echo-0",le="0.005"} 1',
            'request_duration_seconds_bucket{service="echo",instance="echo-0",le="+Inf"} 2',
            'request_duration_seconds_count{service="echo",instance="echo-0"} 2',
            'instance_state{service="echo",instance="echo-1",state="hung"} 1',
            'instance_state{service="echo",instance="echo-1",state="running"} 0',
            'instance_weight{service="echo",instance="echo-1"} 7',
            'instance_registered{service="echo",instance="echo-1"} 0',
        ):
            assert f"eas_simulator_{wanted}" in lines


class TestAccess:
    """Access from other pages and machines, and limits on sizes."""

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8780", "", "127.0.0.1.evil.example", "localhost.x:1"]
    )
    def test_other_hosts_are_refused(self, world: World, host: str) -> None:
        """The check of the Host header prevents DNS rebinding."""
        assert world.ask("GET", "/v1/state", host=host)[0] == 403
        assert world.ask("GET", "/", host=host)[0] == 403

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8780", "127.0.0.1:1", "[::1]:8780"])
    def test_names_of_this_machine_are_accepted(self, world: World, host: str) -> None:
        assert world.ask("GET", "/v1/state", host=host)[0] == 200

    def test_writes_need_json(self, world: World) -> None:
        """A form on another site cannot send JSON as its content type."""
        assert world.ask("POST", "/v1/reset", {}, **{"content-type": "text/plain"})[0] == 415
        assert world.ask("POST", "/v1/reset", {}, **{"content-type": "application/json; charset=utf-8"})[0] == 200

    def test_a_large_body_is_refused(self, world: World) -> None:
        """The limit is 1 MiB."""
        assert world.ask("POST", "/v1/faults", {"name": "x" * 2**20})[0] == 413

    def test_an_unsupported_method_is_405_with_the_allowed_ones(self, world: World) -> None:
        response = world.response("PUT", "/v1/faults")
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST, DELETE")

    @pytest.mark.parametrize("path", ["/", "/livez", "/metrics", "/openapi.json", "/v1/state", "/v1/services/echo"])
    def test_every_get_operation_supports_head(self, world: World, path: str) -> None:
        got, head = world.response("GET", path), world.response("HEAD", path)
        assert (head.status, head.content_type, head.headers) == (200, got.content_type, got.headers)
        assert world.response("HEAD", "/v1/reset").status == 405
        assert world.response("HEAD", "/v1/services/nosuch").status == 404

    def test_a_head_request_for_the_event_stream_ends(self, world: World) -> None:
        head = world.response("HEAD", "/v1/events")
        assert (head.status, head.content_type, head.body) == (200, "text/event-stream", b"")

    def test_the_page_may_run_only_its_own_scripts(self, world: World) -> None:
        response = world.response("GET", "/")
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert "unsafe" not in policy
        assert policy.count("'sha256-") == 2
        addresses = set(re.findall(rb"https?://[^\s\"'`<>]+", response.body))
        assert addresses <= {b"http://www.w3.org/2000/svg"}
        assert world.response("GET", "").body == response.body


class TestGatewaySetting:
    """`gateway` of a service can be changed while the simulator runs, and is reset."""

    def test_it_is_shown_changed_and_reset(self, world: World) -> None:
        assert world.ask("GET", "/v1/services/echo")[1]["gateway"] == "fail"
        status, service = world.ask("PATCH", "/v1/services/group%2Frank", {"gateway": "retry"})
        assert (status, service["name"], service["gateway"]) == (200, "group/rank", "retry")
        assert world.simulator.services["group/rank"].gateway == "retry"
        assert world.ask("GET", "/v1/services/echo")[1]["gateway"] == "fail"
        world.ask("POST", "/v1/reset", {})
        assert world.ask("GET", "/v1/services/group%2Frank")[1]["gateway"] == "fail"

    @pytest.mark.parametrize("body", [{}, {"gateway": "x"}, {"gateway": 1}, {"gateway": None}, {"colour": 1}, []])
    def test_bad_settings(self, world: World, body: Any) -> None:
        """A bad setting changes nothing."""
        assert world.ask("PATCH", "/v1/services/echo", body)[0] == 422
        assert world.ask("GET", "/v1/services/echo")[1]["gateway"] == "fail"

    def test_a_new_service_may_have_a_gateway_setting(self, world: World) -> None:
        status, made = world.ask("POST", "/v1/services", {"name": "new", "gateway": "avoid"})
        assert (status, made["gateway"]) == (201, "avoid")
        world.ask("POST", "/v1/reset", {})
        assert world.ask("GET", "/v1/services/new")[1]["gateway"] == "avoid"
        assert world.ask("POST", "/v1/services", {"name": "other", "gateway": "x"})[0] == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("GET", "/v1/services/none", None, "no service 'none'; there are echo, group/rank"),
        ("GET", "/v1/services/echo/instances/echo-9", None, "in service 'echo'; there are echo-0, echo-1"),
        ("DELETE", "/v1/faults/none", None, "no fault 'none'; there are slow-1"),
        ("POST", "/v1/faults", {"type": "slow", "target": {"service": "x"}}, "there are echo, group/rank"),
        (
            "POST",
            "/v1/faults",
            {"type": "slow", "target": {"service": "echo", "instance": "x"}},
            "there are echo-0, echo-1",
        ),
        ("POST", "/v1/faults", {"type": "slow", "target": {"service": "echo", "zone": "x"}}, "there are none"),
    ],
)
def test_the_error_for_an_unknown_name_lists_the_known_ones(
    world: World, method: str, path: str, body: Any, says: str
) -> None:
    world.ask("POST", "/v1/faults", {"type": "slow", "target": {"service": "echo"}})
    status, document = world.ask(method, path, body)
    assert status in (404, 422)
    assert says in document["detail"]
