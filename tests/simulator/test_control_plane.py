"""Discovery in each format and with each fault, groups of services, and the gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import UserError
from twisted.python.failure import Failure

from simulator import Fault, ServiceSpec, Target
from simulator.fault_kinds import ON_DISCOVERY
from simulator.http1 import ReceivedRequest
from tests.simulator.raw import request
from tests.simulator.region import DISCOVERY, Region, Wire
from tests.simulator.world import Listener, World


def reply(region: Region, service: str = "echo") -> Wire:
    return region.get(DISCOVERY + service)


def rows(wire: Wire) -> Any:
    return json.loads(wire.body)["endpoints"]["items"]


class TestDiscoveryFaults:
    """Each discovery fault, tested by the reply that a raw client receives."""

    def test_http_status(self) -> None:
        region = Region()
        region.fault("http_status", code=503, body="busy", retry_after=3)
        wire = reply(region)
        assert (wire.status, wire.body, wire.headers["retry-after"]) == (503, b"busy", "3")
        region.close()

    def test_empty_list(self) -> None:
        region = Region()
        region.fault("empty_list")
        assert (reply(region).status, rows(reply(region))) == (200, [])
        region.close()

    def test_garbage(self) -> None:
        region = Region()
        region.fault("garbage")
        assert (reply(region).status, reply(region).body) == (200, b"<html>busy</html>")
        region.close()

    @pytest.mark.parametrize("path", ["/api/v1/servicediscovery/upstreams/echo", "/vipserver/api/srvIPXT?dom=echo"])
    def test_on_every_path(self, path: str) -> None:
        region = Region()
        region.fault("garbage", body="{}")
        assert region.get(path).body == b"{}"
        region.close()

    def test_stale(self) -> None:
        region = Region()
        before = rows(reply(region))
        region.fault("stale")
        region.service.remove_instance("echo-0")
        region.service.add_instance()
        assert rows(reply(region)) == before
        region.world.faults.clear()
        assert rows(reply(region)) != before
        region.close()

    def test_a_stale_fault_that_is_added_again_uses_the_current_list(self) -> None:
        region = Region()
        for _ in range(2):
            region.world.faults.add(Fault("stale", name="old"))
            weight = region.instance.weight
            region.instance.weight += 1
            assert region.discover("echo")[0]["weight"] == weight
        region.close()

    def test_latency(self) -> None:
        region = Region()
        region.world.faults.add(Fault("latency", attributes={"latency": 500}))
        wire = reply(region)
        assert wire.received == b""
        region.wait(0.5)
        assert wire.status == 200
        region.close()

    def test_latency_for_a_client_that_leaves(self) -> None:
        region = Region()
        region.world.faults.add(Fault("latency", attributes={"latency": 500}))
        reply(region).transport.abortConnection()
        region.wait(1.0)
        region.close()

    @pytest.mark.parametrize(("timeout", "end"), [(0, ""), (300, "ConnectionDone")])
    def test_timeout(self, timeout: float, end: str) -> None:
        region = Region()
        region.fault("timeout", timeout=timeout)
        wire = reply(region)
        region.wait(0.4)
        assert (wire.received, wire.end) == (b"", end)
        region.close()

    def test_unreachable(self) -> None:
        region = Region()
        region.fault("unreachable")
        assert (reply(region).received, reply(region).end) == (b"", "ConnectionLost")
        region.close()

    def test_bad_rows(self) -> None:
        region = Region()
        good = rows(reply(region))
        region.fault("bad_rows")
        assert rows(reply(region))[-3:] == good
        assert len(rows(reply(region))) == 13
        region.close()

    @pytest.mark.parametrize(("attributes", "weight"), [({}, 0), ({"weight": -1}, -1)])
    def test_zero_weights(self, attributes: dict[str, Any], weight: float) -> None:
        region = Region()
        region.fault("zero_weights", **attributes)
        assert [row["weight"] for row in rows(reply(region))] == [weight] * 3
        region.close()

    def test_duplicates(self) -> None:
        region = Region(instances=2)
        region.fault("duplicates", copies=3)
        assert [row["weight"] for row in rows(reply(region))] == [100, 101, 102] * 2
        assert len({row["port"] for row in rows(reply(region))}) == 2
        region.close()

    def test_flapping_with_each_reply(self) -> None:
        region = Region(instances=4)
        region.fault("flapping", missing=0.5)
        assert [len(rows(reply(region))) for _ in range(6)] == [2, 4, 2, 4, 2, 4]
        region.close()

    def test_flapping_in_time(self) -> None:
        region = Region(instances=4)
        region.fault("flapping", missing=0, period=1000)
        found = []
        for _ in range(4):
            found.append({tuple(row["port"] for row in rows(reply(region))) for _ in range(3)})
            region.wait(0.94)
        assert [len(replies) for replies in found] == [1] * 4
        assert [len(ports) for replies in found for ports in replies] == [3, 4, 3, 4]
        region.close()

    @pytest.mark.parametrize("type_", ["stale", "flapping"])
    def test_a_fault_that_is_removed_during_a_delay_does_not_change_the_reply(self, type_: str) -> None:
        region = Region()
        region.fault("latency", latency=100)
        fault = region.fault(type_)
        delayed = reply(region)
        region.world.faults.remove(fault.name)
        region.wait(0.2)
        assert len(rows(delayed)) == 3
        region.close()

    def test_strangers(self) -> None:
        region = Region()
        known = {row["ip"] for row in rows(reply(region))}
        region.fault("strangers", rows=300)
        found = {(row["ip"], row["port"]) for row in rows(reply(region))}
        assert len(found) == 300
        assert not known & {ip for ip, _ in found}
        region.close()

    def test_huge(self) -> None:
        region = Region()
        before = reply(region).body
        region.fault("huge", bytes=10**6)
        wire = reply(region)
        region.wait(1.0)
        assert len(wire.body) == len(before) + 10**6
        assert json.loads(wire.body) == json.loads(before)
        region.close()

    @pytest.mark.parametrize(
        ("type_", "attributes"),
        [
            ("limit_data", {"bytes": 30}),
            ("truncate_body", {"keep": 10}),
            ("garble_body", {"bytes": 200}),
            ("malformed_response", {}),
            ("wrong_content_length", {}),
        ],
    )
    def test_faults_that_break_a_reply_on_the_wire(self, type_: str, attributes: dict[str, Any]) -> None:
        region = Region()
        before = reply(region).received
        region.fault(type_, **attributes)
        assert reply(region).received != before
        region.close()

    @pytest.mark.parametrize(
        ("type_", "attributes"), [("bandwidth", {"rate": 1}), ("slicer", {"average_size": 10, "delay": 10_000})]
    )
    def test_faults_that_slow_a_reply_down(self, type_: str, attributes: dict[str, Any]) -> None:
        region = Region()
        before = reply(region).received
        region.fault(type_, **attributes)
        wire = reply(region)
        region.wait(0.1)
        assert 0 < len(wire.received) < len(before)
        region.wait(2.0)
        assert wire.received == before
        region.close()

    def test_every_discovery_fault_is_tested(self) -> None:
        with open(__file__, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
        assert [name for name in ON_DISCOVERY if f'"{name}"' not in text] == []

    def test_faults_of_the_connection_precede_statuses_and_those_precede_lists(self) -> None:
        region = Region()
        region.fault("zero_weights", weight=7)
        region.fault("duplicates")
        assert [row["weight"] for row in rows(reply(region))] == [7, 8] * 3
        region.fault("http_status", code=500)
        assert reply(region).status == 500
        region.fault("unreachable")
        assert reply(region).end == "ConnectionLost"
        region.close()

    def test_a_discovery_fault_of_one_service_does_not_affect_another(self) -> None:
        region = Region(ServiceSpec("a"), ServiceSpec("b"))
        region.world.faults.add(Fault("empty_list", Target("a", discovery=True)))
        assert (region.discover("a"), len(region.discover("b"))) == ([], 3)
        region.close()

    def test_each_activation_is_recorded_and_counted(self) -> None:
        region = Region()
        region.world.faults.add(Fault("empty_list", name="bad-list", times=2))
        for _ in range(3):
            reply(region)
        assert [(s.fault, s.type, s.service, s.instance) for s in region.world.faults.activations] == [
            ("bad-list", "empty_list", "echo", "")
        ] * 2
        assert region.world.control_plane.requests == {"empty_list": 2, "ok": 1}
        region.close()


class TestGroups:
    """A service `group/service` is found by its whole name, as `group.service`, or by the name of its group."""

    @pytest.fixture
    def region(self) -> Region:
        return Region(ServiceSpec("g/a", 1), ServiceSpec("g/b", 2), ServiceSpec("solo", 1))

    @pytest.mark.parametrize(
        ("name", "correlative"),
        [
            ("g/a", ["g/a"]),
            ("g.b", ["g/b"]),
            ("g", ["g/a", "g/b"]),
            ("solo", ["solo"]),
            ("solo?internal=true", ["solo"]),
        ],
    )
    def test_discovery(self, region: Region, name: str, correlative: list[str]) -> None:
        """`correlative` has the names of the services whose instances are listed."""
        document = json.loads(reply(region, name).body)
        assert document["correlative"] == correlative
        counts = {"g/a": 1, "g/b": 2, "solo": 1}
        assert len(document["endpoints"]["items"]) == sum(counts[found] for found in correlative)
        region.close()

    @pytest.mark.parametrize(
        ("path", "status"), [("g/a", 200), ("g", 200), ("g.a", 200), ("g/a/x/y", 200), ("solo", 404)]
    )
    def test_instances_answer_to_each_name(self, region: Region, path: str, status: int) -> None:
        wire = region.ask(b"hi", service=path)
        region.wait(0.1)
        assert wire.status == status
        region.close()

    def test_vipserver_lists_deregistered_instances_as_invalid(self, region: Region) -> None:
        region.world.instance("g.b-0").registered = False
        hosts = json.loads(region.get("/vipserver/api/srvIPXT?dom=g.b&clusters=DEFAULT").body)["hosts"]
        assert [(host["port"], host["valid"]) for host in hosts] == [
            (region.world.instance("g.b-1").port, True),
            (region.world.instance("g.b-0").port, False),
        ]
        assert len(region.discover("g.b")) == 1
        region.close()

    def test_the_root_of_the_endpoint_gives_the_address_of_the_page(self, region: Region) -> None:
        """The text is for people who open the endpoint in a browser. A 404 of another path does not have this text."""
        assert (region.get("/").status, region.get("/").body) == (
            404,
            b"404 page not found\nThe page of the simulator is at /_eas/\n",
        )
        assert (region.get("/x").status, region.get("/x").body) == (404, b"404 page not found\n")
        region.close()

    def test_an_unknown_service_is_404(self, region: Region) -> None:
        """The names are an unknown group, no name, an unknown service of a group, and a service without its group."""
        for name in ("h", "", "g/c", "b"):
            assert reply(region, name).status == 404
        region.close()


class TestGateway:
    """`/api/predict/` at the endpoint is a proxy, which has its own statuses 404, 502, 503 and 504."""

    def ask(self, region: Region, path: str = "echo", body: bytes = b"hi") -> Wire:
        port = int(region.world.url.rpartition(":")[2])
        wire = region.connect(port).send(request(body, path))
        region.wait(0.1)
        return wire

    def test_it_forwards(self) -> None:
        """Method, path, query and body are forwarded to an instance."""
        region = Region(instances=1)
        wire = self.ask(region, "echo/v2?x=1")
        assert (wire.status, wire.body) == (200, b"hi")
        (row,) = region.world.journal.rows
        assert (row.instance, row.method, row.path, row.bytes_in) == ("echo-0", "POST", "/api/predict/echo/v2?x=1", 2)
        region.close()

    def test_requests_are_distributed_by_weight(self) -> None:
        """An instance with weight 0 gets no requests."""
        region = Region(instances=2, weights=(0, 1))
        for _ in range(20):
            assert self.ask(region).status == 200
        assert {instance for instance, _ in region.rows} == {"echo-1"}
        region.close()

    def test_requests_to_a_group_go_to_all_its_services(self) -> None:
        region = Region(ServiceSpec("g/a", 1), ServiceSpec("g/b", 1))
        for _ in range(20):
            assert self.ask(region, "g").status == 200
        assert {instance for instance, _ in region.rows} == {"g.a-0", "g.b-0"}
        region.world.journal.clear()
        for _ in range(10):
            assert self.ask(region, "g/b").status == 200
        assert {instance for instance, _ in region.rows} == {"g.b-0"}
        region.close()

    def test_an_unknown_service_of_the_gateway_is_404(self) -> None:
        region = Region()
        assert self.ask(region, "other").status == 404
        region.close()

    def test_a_service_without_registered_instances_is_503(self) -> None:
        region = Region(instances=1)
        region.instance.registered = False
        assert self.ask(region).status == 503
        region.close()

    @pytest.mark.parametrize("what", ["crash", "reset", "nonsense"])
    def test_an_instance_without_a_valid_response_is_502(self, what: str) -> None:
        """The instance refuses the connection, resets it, or sends something that is not HTTP."""
        region = Region(instances=1)
        if what == "crash":
            region.instance.crash()
        else:
            region.fault("reset_peer" if what == "reset" else "malformed_response", on="echo-0")
        wire = self.ask(region)
        region.wait(1.0)
        assert wire.status == 502
        region.close()

    def test_an_instance_that_does_not_respond_in_time_is_504(self) -> None:
        region = Region(instances=1)
        region.instance.hang()
        wire = self.ask(region)
        region.wait(59.0)
        assert wire.received == b""
        region.wait(2.0)
        assert wire.status == 504
        region.close()

    def test_a_client_that_disconnects_leaves_no_connection_or_timer(self) -> None:
        region = Region(instances=1)
        region.instance.hang()
        self.ask(region).transport.abortConnection()
        region.wait(0.5)
        assert not region.instance.server.connections
        region.close()


class TestGatewayModes:
    """The modes `fail`, `retry` and `avoid` for crashed instances."""

    def region(self, gateway: str, *crashed: int, instances: int = 3) -> Region:
        region = Region(instances=instances, gateway=gateway)
        for number in crashed:
            region.service.instances[f"echo-{number}"].crash()
        region.wait(0.1)
        return region

    def statuses(self, region: Region, calls: int = 60) -> list[int]:
        port = int(region.world.url.rpartition(":")[2])
        wires = [region.connect(port).send(request(b"hi")) for _ in range(calls)]
        region.wait(2.0)
        return [wire.status for wire in wires]

    def test_fail_is_the_default_and_returns_502(self) -> None:
        """With one of three instances down, about a third of the requests fail."""
        region = self.region("fail", 1)
        assert region.service.spec == ServiceSpec("echo", 3)
        failed = self.statuses(region).count(502)
        assert 10 <= failed <= 30
        region.close()

    @pytest.mark.parametrize("crashed", [(1,), (0, 2), (0, 1)])
    def test_retry_tries_the_others(self, crashed: tuple[int, ...]) -> None:
        """No request fails while one instance is running, and no request reaches two instances."""
        region = self.region("retry", *crashed)
        assert set(self.statuses(region)) == {200}
        assert len(region.rows) == 60
        region.close()

    def test_retry_returns_502_when_all_instances_refuse(self) -> None:
        region = self.region("retry", 0, 1, 2)
        assert set(self.statuses(region, 3)) == {502}
        region.close()

    def test_retry_is_only_for_requests_that_were_not_sent(self) -> None:
        """A connection lost after the request was sent is status 502: the instance may have started the work."""
        region = self.region("retry")
        region.world.faults.add(Fault("reset_peer", Target("echo"), times=1))
        assert self.statuses(region, 1) == [502]
        region.close()

    def test_avoid_does_not_choose_instances_that_refuse(self) -> None:
        """Hung instances are still chosen. If no instance is eligible, the status is 503."""
        region = self.region("avoid", 0)
        region.service.instances["echo-1"].drain()
        region.wait(0.1)
        assert self.statuses(region, 20) == [200] * 20
        assert {instance for instance, _ in region.rows} == {"echo-2"}
        region.service.instances["echo-2"].crash()
        region.wait(0.1)
        assert self.statuses(region, 2) == [503, 503]
        region.service.instances["echo-1"].hang()
        port = int(region.world.url.rpartition(":")[2])
        wire = region.connect(port).send(request(b"hi"))
        region.wait(1.0)
        assert wire.received == b""
        region.close()

    def test_a_group_has_the_modes_of_its_services(self) -> None:
        region = Region(ServiceSpec("g/a", 1, gateway="retry"), ServiceSpec("g/b", 1))
        region.world.services["g/a"].instances["g.a-0"].crash()
        region.wait(0.1)
        port = int(region.world.url.rpartition(":")[2])
        wires = [region.connect(port).send(request(b"hi", "g")) for _ in range(20)]
        region.wait(1.0)
        assert [wire.status for wire in wires] == [200] * 20
        region.close()

    def test_a_client_that_disconnects_during_a_retry_leaves_no_connection_or_timer(self) -> None:
        world = World((ServiceSpec("echo", 2, gateway="retry"),))
        listener: Any = Listener()
        asked = ReceivedRequest("POST", "/api/predict/echo", {}, b"hi", listener)
        waiting = world.simulator.control_plane.handle(asked)
        assert isinstance(waiting, Deferred)
        ((_, _, factory, *_),) = world.clock.tcpClients
        ended: list[Any] = []
        waiting.addErrback(ended.append).cancel()
        factory.clientConnectionFailed(world.clock.connectors[0], Failure(UserError()))
        assert len(world.clock.tcpClients) == len(ended) == 1
        assert not world.clock.getDelayedCalls()


@pytest.mark.parametrize(
    ("name", "is_model"),
    [
        ("mnist", True),
        ("mnist2", True),
        ("group/mnist2", True),
        ("a/b/mnist", True),
        ("mnist/other", False),
        ("group/x-mnist", False),
    ],
)
def test_the_default_processor_depends_on_the_name_without_its_group(name: str, is_model: bool) -> None:  # noqa: FBT001
    region = Region(ServiceSpec(name, 1))
    wire = region.ask(b"no tensor")
    region.wait(0.1)
    assert wire.status == (400 if is_model else 200)
    region.close()
