"""The HTTP/1.1 server of the simulator: order, pipelining, limits, and shutdown in every state."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from simulator import ServiceSpec
from simulator.http1 import MAX_WAITING
from simulator.request_head import MAX_BODY_BYTES
from simulator.request_reader import MAX_HEAD_BYTES
from tests.patience import HOUR_MS, PATIENCE_S
from tests.simulator.raw import SILENCE, Raw, request
from tests.simulator.region import DISCOVERY, Region
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from pathlib import Path


def test_pipelined_requests_are_answered_in_order() -> None:
    region = Region(processor="sleep")
    wire = region.connect().send(b"".join(request(body) for body in (b"0.3", b"0.1", b"0.2")))
    region.wait(0.35)
    assert wire.received.count(b"HTTP/1.1 200") == 1
    region.wait(0.3)
    assert [part[-3:] for part in wire.received.split(b"HTTP/1.1 200")[1:]] == [b"0.3", b"0.1", b"0.2"]
    region.close()


def test_a_flood_of_pipelined_requests_is_not_read_without_bound() -> None:
    region = Region()
    region.instance.hang()
    wire = region.connect()
    for number in range(1000):
        wire.send(request(b"%d" % number))
        region.wait(0.001)
    (connection,) = region.instance.server.connections
    assert len(connection._waiting) <= 2 * MAX_WAITING
    region.instance.resume()
    region.wait(5.0)
    assert wire.received.count(b"HTTP/1.1 200") == 1000
    region.close()


def test_connection_close_is_honoured() -> None:
    region = Region()
    wire = region.connect().send(request(b"1", headers={"Connection": "close"}) + request(b"2"))
    region.wait(0.1)
    assert wire.received.count(b"HTTP/1.1 200") == 1
    assert (wire.headers["connection"], wire.end) == ("close", "ConnectionDone")
    region.close()


def test_100_continue_is_sent_before_the_body() -> None:
    """RFC 9110 §10.1.1: a client may wait for `100 Continue` before it sends the body."""
    region = Region()
    head, _, body = request(b"later", headers={"Expect": "100-continue"}).partition(b"\r\n\r\n")
    wire = region.connect().send(head + b"\r\n\r\n")
    region.wait(0.1)
    assert wire.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(body)
    region.wait(0.1)
    assert wire.received.endswith(b"later")
    region.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", 413),
        (b"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"GET /api/predict/echoes HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /api/predict/%65cho HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200),
        (b"POST /api/predict/echoes HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
    ],
)
def test_invalid_requests_are_refused_with_their_status(data: bytes, status: int) -> None:
    region = Region()
    wire = region.connect().send(data)
    region.wait(0.5)
    assert wire.status == status
    assert bool(wire.end) is (status in (400, 413))
    region.close()


@pytest.mark.parametrize("path", [b"/_eas/livez", b"/vipserver/serverlist", b"/no/such", b"/api/predict/none"])
def test_a_head_has_no_body(path: bytes) -> None:
    region = Region()
    port = int(region.world.url.rpartition(":")[2]) if b"predict" not in path else 0
    wire = region.connect(port).send(b"HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
    region.wait(0.1)
    head, end, body = wire.received.partition(b"\r\n\r\n")
    assert (end, body) == (b"\r\n\r\n", b"")
    assert re.search(rb"Content-Length: [1-9]", head)
    region.close()


def test_a_header_line_without_an_end_is_bounded() -> None:
    """After 64 KiB the status is 413, although no header is complete."""
    region = Region()
    wire = region.connect().send(b"POST / HTTP/1.1\r\nHost: x\r\nX: ")
    for _ in range(100):
        wire.send(b"x" * 1000)
        region.wait(0.001)
    assert (wire.status, wire.end) == (413, "ConnectionDone")
    region.close()


def test_everything_is_closed_within_a_second_of_the_end() -> None:
    """Hung, draining, crashed and slow instances, half a request, a queue, and gateway and discovery requests."""
    region = Region(ServiceSpec("echo", 6), ServiceSpec("busy", 1, processor="sleep:3600", workers=1, keepalive_s=0))
    first, second, third, *_ = instances = list(region.service.instances.values())
    first.hang()
    region.connect(second.port).send(request(b"half")[:-2])
    second.drain()
    third.crash()
    region.fault("bandwidth", on="echo-3", rate=0.001)
    region.fault("timeout", timeout=HOUR_MS)
    busy = next(iter(region.world.services["busy"].instances.values()))
    endpoint = int(region.world.url.rpartition(":")[2])
    for port, data in (
        (first.port, request(b"hung")),
        (instances[3].port, request(b"trickle")),
        (instances[5].port, request(b"half")[:-2]),
        *[(busy.port, request(b"queued", "busy"))] * 5,
        (endpoint, request(b"x", "busy")),
        (endpoint, f"GET {DISCOVERY}echo HTTP/1.1\r\nHost: x\r\n\r\n".encode()),
        (endpoint, b""),
    ):
        region.connect(port).send(data)
    region.wait(0.1)
    assert len(region.network.transports) > 10
    region.close()


def test_the_process_ends_in_every_state_at_once(tmp_path: Path) -> None:
    """Hung, draining, crashed and slow instances, unread bytes, half a request, gateway, discovery, and a queue."""
    services = ("--service", "echo=6", "--service", "busy=1", "--processor", "sleep:3600", "--keepalive", "0")
    with Served(tmp_path, *services, "--token", "", "--workers", "1") as served:
        for number, state in enumerate(("hung", "draining", "crashed")):
            served.patch("echo", f"echo-{number}", state=state)
        for type_, attributes in (("bandwidth", {"rate": 0.001}), ("http_status", {"body": "x" * 10_000})):
            fault = {"type": type_, "target": {"service": "echo", "instance": "echo-3"}, "attributes": attributes}
            assert served.admin("POST", "/v1/faults", fault)[0] == 201
        unread = {"type": "http_status", "target": {"service": "echo", "instance": "echo-4"}}
        assert served.admin("POST", "/v1/faults", {**unread, "attributes": {"body": "x" * 10**6}})[0] == 201
        silence = {"type": "timeout", "target": {"discovery": True}, "attributes": {"timeout": HOUR_MS}}
        assert served.admin("POST", "/v1/faults", silence)[0] == 201
        host, _, port = served.ready["url"].removeprefix("http://").partition(":")
        endpoint = {"ip": host, "port": int(port)}
        busy = served.ready["services"][1]["instances"][0]
        connections = [
            Raw(served.instances[0]).send(request(b"hung")),
            Raw(served.instances[3]).send(request(b"trickle")),
            Raw(served.instances[4]).send(request(b"unread") * 20),
            Raw(served.instances[5]).send(request(b"half")[:-2]),
            *(Raw(busy).send(request(b"queued", "busy")) for _ in range(5)),
            Raw(endpoint).send(request(b"x", "busy")),
            Raw(endpoint).send(f"GET {DISCOVERY}echo HTTP/1.1\r\nHost: x\r\n\r\n".encode()),
            Raw(endpoint),
        ]
        assert connections[0].read(wait_s=0.2) == SILENCE
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_S) == 0
        for connection in connections:
            connection.__exit__()
    assert not served.ready_file.exists()
