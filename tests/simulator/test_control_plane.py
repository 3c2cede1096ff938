"""What the endpoint says: the truth in every dialect, every lie, groups, and the gateway with errors of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import UserError
from twisted.python.failure import Failure

from simulator import Fault, ServiceSpec, Target
from simulator.fault_kinds import ON_DISCOVERY
from simulator.http1 import Request
from tests.simulator.raw import request
from tests.simulator.room import DISCOVERY, Room, Wire
from tests.simulator.world import Listener, World


def reply(room: Room, service: str = "echo") -> Wire:
    return room.get(DISCOVERY + service)


def rows(wire: Wire) -> Any:
    return json.loads(wire.body)["endpoints"]["items"]


class TestLies:
    """Every fault of discovery, as a raw client sees it."""

    def test_http_status(self) -> None:
        room = Room()
        room.fault("http_status", code=503, body="busy", retry_after=3)
        wire = reply(room)
        assert (wire.status, wire.body, wire.headers["retry-after"]) == (503, b"busy", "3")
        room.close()

    def test_empty_list(self) -> None:
        room = Room()
        room.fault("empty_list")
        assert (reply(room).status, rows(reply(room))) == (200, [])
        room.close()

    def test_garbage(self) -> None:
        room = Room()
        room.fault("garbage")
        assert (reply(room).status, reply(room).body) == (200, b"<html>busy</html>")
        room.close()

    @pytest.mark.parametrize("path", ["/api/v1/servicediscovery/upstreams/echo", "/vipserver/api/srvIPXT?dom=echo"])
    def test_on_every_path(self, path: str) -> None:
        room = Room()
        room.fault("garbage", body="{}")
        assert room.get(path).body == b"{}"
        room.close()

    def test_stale(self) -> None:
        room = Room()
        before = rows(reply(room))
        room.fault("stale")
        room.service.remove_instance("echo-0")
        room.service.add_instance()
        assert rows(reply(room)) == before
        room.world.faults.clear()
        assert rows(reply(room)) != before
        room.close()

    def test_a_stale_fault_made_again_remembers_anew(self) -> None:
        room = Room()
        for _ in range(2):
            room.world.faults.add(Fault("stale", name="old"))
            weight = room.instance.weight
            room.instance.weight += 1
            assert room.discover("echo")[0]["weight"] == weight
        room.close()

    def test_latency(self) -> None:
        room = Room()
        room.world.faults.add(Fault("latency", attributes={"latency": 500}))
        wire = reply(room)
        assert wire.received == b""
        room.wait(0.5)
        assert wire.status == 200
        room.close()

    def test_latency_for_a_client_that_leaves(self) -> None:
        room = Room()
        room.world.faults.add(Fault("latency", attributes={"latency": 500}))
        reply(room).transport.abortConnection()
        room.wait(1.0)
        room.close()

    @pytest.mark.parametrize(("timeout", "end"), [(0, ""), (300, "ConnectionDone")])
    def test_timeout(self, timeout: float, end: str) -> None:
        room = Room()
        room.fault("timeout", timeout=timeout)
        wire = reply(room)
        room.wait(0.4)
        assert (wire.received, wire.end) == (b"", end)
        room.close()

    def test_unreachable(self) -> None:
        room = Room()
        room.fault("unreachable")
        assert (reply(room).received, reply(room).end) == (b"", "ConnectionLost")
        room.close()

    def test_bad_rows(self) -> None:
        room = Room()
        good = rows(reply(room))
        room.fault("bad_rows")
        assert rows(reply(room))[-3:] == good
        assert len(rows(reply(room))) == 13
        room.close()

    @pytest.mark.parametrize(("attributes", "weight"), [({}, 0), ({"weight": -1}, -1)])
    def test_zero_weights(self, attributes: dict[str, Any], weight: float) -> None:
        room = Room()
        room.fault("zero_weights", **attributes)
        assert [row["weight"] for row in rows(reply(room))] == [weight] * 3
        room.close()

    def test_duplicates(self) -> None:
        room = Room(instances=2)
        room.fault("duplicates", copies=3)
        assert [row["weight"] for row in rows(reply(room))] == [100, 101, 102] * 2
        assert len({row["port"] for row in rows(reply(room))}) == 2
        room.close()

    def test_flapping_with_each_reply(self) -> None:
        room = Room(instances=4)
        room.fault("flapping", missing=0.5)
        assert [len(rows(reply(room))) for _ in range(6)] == [2, 4, 2, 4, 2, 4]
        room.close()

    def test_flapping_in_time(self) -> None:
        room = Room(instances=4)
        room.fault("flapping", missing=0, period=1000)
        found = []
        for _ in range(4):
            found.append({tuple(row["port"] for row in rows(reply(room))) for _ in range(3)})
            room.wait(0.94)
        assert [len(replies) for replies in found] == [1] * 4
        assert [len(ports) for replies in found for ports in replies] == [3, 4, 3, 4]
        room.close()

    def test_strangers(self) -> None:
        room = Room()
        known = {row["ip"] for row in rows(reply(room))}
        room.fault("strangers", rows=300)
        found = {(row["ip"], row["port"]) for row in rows(reply(room))}
        assert len(found) == 300
        assert not known & {ip for ip, _ in found}
        room.close()

    def test_huge(self) -> None:
        room = Room()
        before = reply(room).body
        room.fault("huge", bytes=10**6)
        wire = reply(room)
        room.wait(1.0)
        assert len(wire.body) == len(before) + 10**6
        assert json.loads(wire.body) == json.loads(before)
        room.close()

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
    def test_what_breaks_a_reply_on_the_wire(self, type_: str, attributes: dict[str, Any]) -> None:
        room = Room()
        before = reply(room).received
        room.fault(type_, **attributes)
        assert reply(room).received != before
        room.close()

    @pytest.mark.parametrize(
        ("type_", "attributes"), [("bandwidth", {"rate": 1}), ("slicer", {"average_size": 10, "delay": 10_000})]
    )
    def test_what_makes_a_reply_trickle(self, type_: str, attributes: dict[str, Any]) -> None:
        room = Room()
        before = reply(room).received
        room.fault(type_, **attributes)
        wire = reply(room)
        room.wait(0.1)
        assert 0 < len(wire.received) < len(before)
        room.wait(2.0)
        assert wire.received == before
        room.close()

    def test_every_type_is_met(self) -> None:
        """The table has no fault that this class does not make."""
        with open(__file__, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
        assert [name for name in ON_DISCOVERY if f'"{name}"' not in text] == []

    def test_silence_goes_before_a_status_and_that_before_a_list(self) -> None:
        """Whatever the order in which they were made; lies about the list add up."""
        room = Room()
        room.fault("zero_weights", weight=7)
        room.fault("duplicates")
        assert [row["weight"] for row in rows(reply(room))] == [7, 8] * 3
        room.fault("http_status", code=500)
        assert reply(room).status == 500
        room.fault("unreachable")
        assert reply(room).end == "ConnectionLost"
        room.close()

    def test_a_lie_about_one_service_is_no_lie_about_another(self) -> None:
        """A target may name its service."""
        room = Room(ServiceSpec("a"), ServiceSpec("b"))
        room.world.faults.add(Fault("empty_list", Target("a", discovery=True)))
        assert (room.discover("a"), len(room.discover("b"))) == ([], 3)
        room.close()

    def test_each_application_is_in_the_account(self) -> None:
        """When, which, where."""
        room = Room()
        room.world.faults.add(Fault("empty_list", name="lie", times=2))
        for _ in range(3):
            reply(room)
        assert [(s.fault, s.type, s.service, s.instance) for s in room.world.faults.strikes] == [
            ("lie", "empty_list", "echo", "")
        ] * 2
        assert room.world.control_plane.requests == {"empty_list": 2, "ok": 1}
        room.close()


class TestGroups:
    """`group/service`: seen by its whole name, as `group.service`, and all of a group by the group's."""

    @pytest.fixture
    def room(self) -> Room:
        return Room(ServiceSpec("g/a", 1), ServiceSpec("g/b", 2), ServiceSpec("solo", 1))

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
    def test_discovery(self, room: Room, name: str, correlative: list[str]) -> None:
        """`correlative` names the services that are meant, and all their instances are listed."""
        document = json.loads(reply(room, name).body)
        assert document["correlative"] == correlative
        counts = {"g/a": 1, "g/b": 2, "solo": 1}
        assert len(document["endpoints"]["items"]) == sum(counts[found] for found in correlative)
        room.close()

    @pytest.mark.parametrize(
        ("path", "status"), [("g/a", 200), ("g", 200), ("g.a", 200), ("g/a/x/y", 200), ("solo", 404)]
    )
    def test_instances_answer_to_each_name(self, room: Room, path: str, status: int) -> None:
        """And to no other's."""
        wire = room.ask(b"hi", service=path)
        room.wait(0.1)
        assert wire.status == status
        room.close()

    def test_vipserver_tells_who_is_out_of_service(self, room: Room) -> None:
        """As rows that are not valid; upstreams leave them out."""
        room.world.instance("g.b-0").registered = False
        hosts = json.loads(room.get("/vipserver/api/srvIPXT?dom=g.b&clusters=DEFAULT").body)["hosts"]
        assert [(host["port"], host["valid"]) for host in hosts] == [
            (room.world.instance("g.b-1").port, True),
            (room.world.instance("g.b-0").port, False),
        ]
        assert len(room.discover("g.b")) == 1
        room.close()

    def test_unknown(self, room: Room) -> None:
        """404, on every path."""
        for name in ("h", "", "g/c", "b"):
            assert reply(room, name).status == 404
        room.close()


class TestGateway:
    """`/api/predict/` at the endpoint: a proxy with 404, 502, 503 and 504 of its own."""

    def ask(self, room: Room, path: str = "echo", body: bytes = b"hi") -> Wire:
        port = int(room.world.url.rpartition(":")[2])
        wire = room.connect(port).send(request(body, path))
        room.wait(0.1)
        return wire

    def test_it_forwards(self) -> None:
        """Path, query and body; the row is the instance's."""
        room = Room()
        wire = self.ask(room, "echo/v2?x=1")
        assert (wire.status, wire.body) == (200, b"hi")
        assert room.world.journal.rows[0].path == "/api/predict/echo/v2?x=1"
        room.close()

    def test_by_weight(self) -> None:
        """An instance of weight 0 gets nothing."""
        room = Room(instances=2, weights=(0, 1))
        for _ in range(20):
            assert self.ask(room).status == 200
        assert {instance for instance, _ in room.rows} == {"echo-1"}
        room.close()

    def test_a_group_is_all_of_it(self) -> None:
        """By the group's name any of its services answers; by a service's own only that."""
        room = Room(ServiceSpec("g/a", 1), ServiceSpec("g/b", 1))
        for _ in range(20):
            assert self.ask(room, "g").status == 200
        assert {instance for instance, _ in room.rows} == {"g.a-0", "g.b-0"}
        room.world.journal.clear()
        for _ in range(10):
            assert self.ask(room, "g/b").status == 200
        assert {instance for instance, _ in room.rows} == {"g.b-0"}
        room.close()

    def test_404(self) -> None:
        """Nobody knows the service."""
        room = Room()
        assert self.ask(room, "other").status == 404
        room.close()

    def test_503(self) -> None:
        """Nobody is registered."""
        room = Room(instances=1)
        room.instance.registered = False
        assert self.ask(room).status == 503
        room.close()

    @pytest.mark.parametrize("what", ["crash", "reset", "nonsense"])
    def test_502(self, what: str) -> None:
        """The instance refuses, resets, or does not speak HTTP."""
        room = Room(instances=1)
        if what == "crash":
            room.instance.crash()
        else:
            room.fault("reset_peer" if what == "reset" else "malformed_response", on="echo-0")
        wire = self.ask(room)
        room.wait(1.0)
        assert wire.status == 502
        room.close()

    def test_504(self) -> None:
        """The instance says nothing for the gateway's whole time."""
        room = Room(instances=1)
        room.instance.hang()
        wire = self.ask(room)
        room.wait(59.0)
        assert wire.received == b""
        room.wait(2.0)
        assert wire.status == 504
        room.close()

    def test_a_client_that_leaves_leaves_nothing(self) -> None:
        """The trip to the instance ends with its client."""
        room = Room(instances=1)
        room.instance.hang()
        self.ask(room).transport.abortConnection()
        room.wait(0.5)
        assert not room.instance.server.connections
        room.close()


class TestGatewayModes:
    """What a dead instance means to the gateway."""

    def room(self, gateway: str, *crashed: int, instances: int = 3) -> Room:
        room = Room(instances=instances, gateway=gateway)
        for number in crashed:
            room.service.instances[f"echo-{number}"].crash()
        room.wait(0.1)
        return room

    def statuses(self, room: Room, calls: int = 60) -> list[int]:
        port = int(room.world.url.rpartition(":")[2])
        wires = [room.connect(port).send(request(b"hi")) for _ in range(calls)]
        room.wait(2.0)
        return [wire.status for wire in wires]

    def test_fail_is_the_default(self) -> None:
        """About a third of the calls, while one of three is dead."""
        room = self.room("fail", 1)
        assert room.service.spec == ServiceSpec("echo", 3)
        failed = self.statuses(room).count(502)
        assert 10 <= failed <= 30
        room.close()

    @pytest.mark.parametrize("crashed", [(1,), (0, 2), (0, 1)])
    def test_retry_tries_the_others(self, crashed: tuple[int, ...]) -> None:
        """None is lost while one instance runs, and none reaches two."""
        room = self.room("retry", *crashed)
        assert set(self.statuses(room)) == {200}
        assert len(room.rows) == 60
        room.close()

    def test_retry_ends_when_all_refuse(self) -> None:
        """Each has been tried once."""
        room = self.room("retry", 0, 1, 2)
        assert set(self.statuses(room, 3)) == {502}
        room.close()

    def test_retry_is_for_what_was_not_sent(self) -> None:
        """A connection that is lost with a request on it is a 502: the instance may have begun."""
        room = self.room("retry")
        room.world.faults.add(Fault("reset_peer", Target("echo"), times=1))
        assert self.statuses(room, 1) == [502]
        room.close()

    def test_avoid_leaves_them_out(self) -> None:
        """Crashed, draining and refusing ones; a hung one is not noticed, and without any there is no way: 503."""
        room = self.room("avoid", 0)
        room.service.instances["echo-1"].drain()
        room.wait(0.1)
        assert self.statuses(room, 20) == [200] * 20
        assert {instance for instance, _ in room.rows} == {"echo-2"}
        room.service.instances["echo-2"].crash()
        room.wait(0.1)
        assert self.statuses(room, 2) == [503, 503]
        room.service.instances["echo-1"].hang()
        port = int(room.world.url.rpartition(":")[2])
        wire = room.connect(port).send(request(b"hi"))
        room.wait(1.0)
        assert wire.received == b""
        room.close()

    def test_a_group_has_the_modes_of_its_services(self) -> None:
        """The instance that is dead decides."""
        room = Room(ServiceSpec("g/a", 1, gateway="retry"), ServiceSpec("g/b", 1))
        room.world.services["g/a"].instances["g.a-0"].crash()
        room.wait(0.1)
        port = int(room.world.url.rpartition(":")[2])
        wires = [room.connect(port).send(request(b"hi", "g")) for _ in range(20)]
        room.wait(1.0)
        assert [wire.status for wire in wires] == [200] * 20
        room.close()

    def test_a_client_that_leaves_during_a_retry_leaves_nothing(self) -> None:
        """To stop connecting is a failed connection, too; no other instance is tried after that."""
        world = World((ServiceSpec("echo", 2, gateway="retry"),))
        listener: Any = Listener()
        asked = Request("POST", "/api/predict/echo", {}, b"hi", listener)
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
def test_a_services_own_name_says_what_it_computes(name: str, is_model: bool) -> None:  # noqa: FBT001
    """Not its group's."""
    room = Room(ServiceSpec(name, 1))
    wire = room.ask(b"no tensor")
    room.wait(0.1)
    assert wire.status == (400 if is_model else 200)
    room.close()
