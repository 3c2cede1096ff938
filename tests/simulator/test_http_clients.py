"""Compatibility with HTTP clients: upgrades, HTTP/1.0, absolute targets, invalid requests, and limits."""

from __future__ import annotations

import http.client
import json
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from simulator import Fault, Target
from simulator.http1 import MAX_WAITING_BYTES
from simulator.request_reader import MAX_HEAD_BYTES
from tests.needs import program
from tests.patience import PATIENCE_S
from tests.simulator.raw import SILENCE, Raw, request
from tests.simulator.region import DISCOVERY, Region
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.region import Wire

H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA\r\n"
TLS = "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"
BOTH = "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nconnection: UPGRADE\r\n"
PLACES = ["instance", "gateway", "discovery"]


def head(place: str, fields: str = "", *, version: str = "1.1", host: str = "Host: x\r\n", target: str = "") -> bytes:
    """Return the head of a valid request. The head of a prediction is for a body of five bytes."""
    method, path = ("GET", f"{DISCOVERY}echo") if place == "discovery" else ("POST", "/api/predict/echo")
    length = "" if place == "discovery" else "Content-Length: 5\r\n"
    return f"{method} {target or path} HTTP/{version}\r\n{host}{fields}{length}\r\n".encode()


def connect(region: Region, place: str) -> Wire:
    return region.connect(0 if place == "instance" else int(region.world.url.rpartition(":")[2]))


def bodies(wire: Wire) -> list[bytes]:
    """Return the bodies of the received responses. Assert that each is complete and has status 200."""
    found, rest = [], wire.received
    while rest:
        status, _, rest = rest.partition(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 200"), status
        (length,) = [int(line[16:]) for line in status.split(b"\r\n") if line.startswith(b"Content-Length: ")]
        found.append(rest[:length])
        rest = rest[length:]
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("offer", [H2C, TLS, BOTH], ids=["h2c", "TLS", "repeated"])
@pytest.mark.parametrize("cut", [0, 1, 20, 10_000], ids=["one-segment", "bytes", "pieces", "body-later"])
def test_an_offered_upgrade_is_ignored(place: str, offer: str, cut: int) -> None:
    """RFC 9110 §7.8: the response is HTTP/1.1, and the connection stays open, with or without pipelining."""
    region = Region()
    wire = connect(region, place)
    body = [] if place == "discovery" else [b"hello", b"again", b"third"]
    first, plain = head(place, offer), head(place)
    sent = [first, *body[:1], plain, *body[1:2], first, *body[2:]]
    data = b"".join(sent)
    pieces = {0: [data], 10_000: sent}.get(cut) or [data[at : at + cut] for at in range(0, len(data), cut)]
    for piece in pieces:
        wire.send(piece)
        region.wait(0.001)
    region.wait(0.5)
    answers = bodies(wire)
    assert (len(answers), wire.end) == (3, "")
    if body:
        assert answers == body
    else:
        assert all(json.loads(answer)["correlative"] == ["echo"] for answer in answers)
    region.close()


def test_an_upgrade_is_ignored_with_a_chunked_body() -> None:
    region = Region()
    region.world.faults.add(Fault("reset_peer", Target("echo"), {"at": "head"}, skip=1))
    offered = f"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\n{H2C}Transfer-Encoding: chunked\r\n\r\n".encode()
    wire = region.connect().send(offered)
    region.wait(0.1)
    wire.send(b"2\r\nhe\r\n")
    region.wait(0.1)
    wire.send(b"3\r\nllo\r\n0\r\n\r\n")
    region.wait(0.1)
    assert (bodies(wire), wire.end) == ([b"hello"], "")
    region.close()


def test_an_upgrade_with_close_is_answered_and_closed() -> None:
    region = Region()
    offer = "Upgrade: h2c\r\nConnection: close\r\nConnection: Upgrade\r\n"
    wire = region.connect().send(head("instance", offer) + b"hello" + head("instance"))
    region.wait(0.1)
    assert (bodies(wire), wire.headers["connection"], wire.end) == ([b"hello"], "close", "ConnectionDone")
    region.close()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("version", "connection", "said"),
    [
        ("1.0", "Connection: Keep-Alive\r\n", "keep-alive"),
        ("1.0", "", "close"),
        ("1.0", "Connection: close\r\n", "close"),
        ("1.1", "Connection: close\r\n", "close"),
        ("1.1", "Connection: keep-alive\r\n", None),
        ("1.1", "", None),
    ],
)
def test_the_response_has_the_right_connection_header(
    place: str, version: str, connection: str, said: str | None
) -> None:
    """RFC 9112 §9.3: an HTTP/1.0 client such as `ab -k` waits for the close unless the response has `keep-alive`."""
    region = Region()
    wire = connect(region, place)
    is_open = said != "close"
    for number in (1, 2) if is_open else (1,):
        wire.send(head(place, connection, version=version) + (b"" if place == "discovery" else b"hello"))
        region.wait(0.1)
        assert len(bodies(wire)) == number
    assert (wire.headers.get("connection"), wire.end) == (said, "" if is_open else "ConnectionDone")
    region.close()


def test_a_response_of_a_fault_has_keep_alive_in_http_1_0() -> None:
    region = Region()
    region.world.faults.add(Fault("slicer", Target("echo"), {"average_size": 7}))
    wire = region.connect().send(head("instance", "Connection: keep-alive\r\n", version="1.0") + b"hello")
    region.wait(0.5)
    assert (bodies(wire), wire.headers["connection"], wire.end) == ([b"hello"], "keep-alive", "")
    region.close()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("authority", ["http://other:81", "HTTP://127.0.0.1", "https://[::1]:8780"])
def test_an_absolute_target_is_a_path(place: str, authority: str) -> None:
    """RFC 9112 §3.2.2: clients that use the simulator as their proxy send absolute targets."""
    region = Region()
    path = f"{DISCOVERY}echo?a=b" if place == "discovery" else "/api/predict/echo/v2?a=b"
    wire = connect(region, place).send(head(place, target=authority + path) + b"hello" * (place != "discovery"))
    region.wait(0.1)
    assert len(bodies(wire)) == 1
    if place != "discovery":
        assert region.world.journal.rows[0].path == path
    region.close()


@pytest.mark.parametrize(("target", "status"), [("http://localhost", 404), ("http://evil.example", 403)])
def test_the_host_is_that_of_an_absolute_target(target: str, status: int) -> None:
    """RFC 9112 §3.2.2: the Host header of a request with an absolute target is ignored."""
    region = Region()
    wire = connect(region, "gateway").send(f"GET {target}/_eas/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    region.wait(0.1)
    assert wire.status == status
    region.close()


@pytest.mark.parametrize("place", PLACES[:2])
@pytest.mark.parametrize("target", ["*", "http://x"])
def test_options_of_the_whole_server(place: str, target: str) -> None:
    """The target is `*` or an absolute one without a path. The response is an empty 200 with Allow."""
    region = Region()
    wire = connect(region, place).send(f"OPTIONS {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    region.wait(0.1)
    assert (wire.status, wire.body, wire.end) == (200, b"", "")
    assert "POST" in wire.headers["allow"]
    region.close()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nX: y\r\nHOST: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET http://u:p@host/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://host/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    ],
)
def test_invalid_http_1_1_requests_are_refused_once(place: str, data: bytes, status: int) -> None:
    region = Region()
    wire = connect(region, place).send(data + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    region.wait(0.1)
    assert (wire.status, wire.end, wire.received.count(b"HTTP/1.1 ")) == (status, "ConnectionDone", 1)
    assert wire.body.count(b"\n") == 1
    region.close()


def test_http_1_0_needs_no_host() -> None:
    region = Region()
    wire = region.connect().send(head("instance", host="", version="1.0") + b"hello")
    region.wait(0.1)
    assert bodies(wire) == [b"hello"]
    region.close()


def test_a_rejection_is_sent_after_earlier_responses() -> None:
    region = Region(processing=1.0)
    wire = region.connect().send(request(b"first") + b"nonsense\r\n\r\n" + request(b"third"))
    region.wait(0.5)
    assert wire.received == b""
    region.wait(1.0)
    answers = wire.received.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"400"]
    assert (answers[0][-5:], wire.end) == (b"first", "ConnectionDone")
    region.close()


def test_100_continue_is_sent_after_earlier_responses() -> None:
    """An interim response belongs to the oldest request without a response."""
    region = Region(processing=0.1)
    expecting = head("instance", "Expect: 100-continue\r\n")
    wire = region.connect().send(request(b"first") + expecting)
    region.wait(0.05)
    assert wire.received == b""
    region.wait(0.1)
    assert wire.received.endswith(b"firstHTTP/1.1 100 Continue\r\n\r\n")
    wire.send(b"hello")
    region.wait(0.2)
    assert wire.received.endswith(b"hello")
    assert wire.received.count(b"100 Continue") == 1
    region.close()


def test_http_1_0_gets_no_100_continue() -> None:
    """HTTP/1.0 has no interim responses (RFC 9110 §10.1.1)."""
    region = Region()
    wire = region.connect().send(head("instance", "Expect: 100-continue\r\n", version="1.0"))
    region.wait(0.1)
    assert wire.received == b""
    wire.send(b"hello")
    region.wait(0.1)
    assert bodies(wire) == [b"hello"]
    region.close()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", ["", "slicer", "close_idle"])
def test_no_response_to_a_head_request_has_a_body(place: str, fault: str) -> None:
    region = Region()
    if fault:
        target = Target(discovery=True) if place == "discovery" else Target("echo")
        kind = "http_status" if place == "discovery" else fault
        region.world.faults.add(Fault(kind, target))
    data = head(place).replace(b"POST", b"HEAD").replace(b"GET", b"HEAD").replace(b"Content-Length: 5\r\n", b"")
    wire = connect(region, place).send(data)
    region.wait(0.5)
    assert wire.status == (503 if fault and place == "discovery" else 200)
    assert wire.received.endswith(b"\r\n\r\n")
    assert wire.received.count(b"\r\n\r\n") == 1
    region.close()


@pytest.mark.parametrize("code", [204, 304])
def test_a_response_with_204_or_304_has_no_body(code: int) -> None:
    region = Region()
    region.world.faults.add(Fault("http_status", Target("echo"), {"code": code, "body": "x"}, times=1))
    wire = region.connect().send(request(b"first") + request(b"second"))
    region.wait(0.1)
    assert wire.received.startswith(b"HTTP/1.1 %d" % code)
    assert wire.received.partition(b"\r\n\r\n")[2].startswith(b"HTTP/1.1 200")
    region.close()


def test_the_gateway_does_not_forward_hop_by_hop_headers() -> None:
    """RFC 9110 §7.6.1: fields that Connection names and fields that are always hop-by-hop are not forwarded."""
    region = Region(instances=1)
    seen: list[Any] = []
    handle = region.instance.server.handle

    def watch(request: Any) -> Any:
        seen.append(request)
        return handle(request)

    region.instance.server.handle = watch
    offer = H2C.replace("Upgrade, ", "Upgrade, X-Mine, ") + "X-Mine: 1\r\nX-Kept: 2\r\nTE: trailers\r\n"
    wire = connect(region, "gateway").send(head("gateway", offer) + b"hello")
    region.wait(0.1)
    assert bodies(wire) == [b"hello"]
    assert set(seen[0].headers) == {"host", "connection", "content-length", "x-kept"}
    region.close()


# Limits


def test_tiny_chunks_are_joined_in_one_buffer() -> None:
    region = Region(processing=0)
    wire = region.connect().send(b"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(b"1\r\na\r\n" * 10_000)
    region.wait(0.1)
    (connection,) = region.instance.server.connections
    assert isinstance(connection._reader._body, bytearray)
    assert len(connection._reader._body) == 10_000
    wire.send(b"0\r\n\r\n")
    region.wait(0.1)
    assert bodies(wire) == [b"a" * 10_000]
    assert connection._reader._body == b""
    region.close()


@pytest.mark.parametrize(
    "piece",
    [b"X-%d: y\r\n", b"x" * 1000, b"1;%d=" + b"x" * 1000],
    ids=["many trailers", "an endless trailer", "an endless chunk extension"],
)
def test_trailers_and_chunk_extensions_are_bounded(piece: bytes) -> None:
    region = Region()
    wire = region.connect().send(b"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(b"" if piece.startswith(b"1;") else b"0\r\nX: " + b"\r\n" * (b"\r\n" in piece))
    sent = 0
    while not wire.received and sent < 4 * MAX_HEAD_BYTES:
        data = b"".join(piece % number if b"%" in piece else piece for number in range(20))
        wire.send(data)
        sent += len(data)
        region.wait(0.001)
    assert (wire.status, wire.end) == (413, "ConnectionDone")
    assert sent <= 3 * MAX_HEAD_BYTES
    region.close()


def test_a_trailer_does_not_replace_a_header() -> None:
    """RFC 9110 §6.5.1: trailers are discarded, because a header that was checked must not change."""
    region = Region(token="t0ken")
    chunked = "Transfer-Encoding: chunked\r\n\r\n0\r\n"
    post = "POST /api/predict/echo HTTP/1.1\r\nHost: x\r\n"
    wire = region.connect().send(f"{post}{chunked}Authorization: t0ken\r\n\r\n".encode())
    other = region.connect().send(
        f"{post}Authorization: t0ken\r\n{chunked}Authorization: x\r\nHost: y\r\n\r\n".encode()
    )
    region.wait(0.1)
    assert (wire.status, other.status) == (401, 200)
    region.close()


def test_the_bytes_of_queued_bodies_are_bounded() -> None:
    region = Region()
    region.instance.hang()
    wire = region.connect()
    body = b"x" * (4 * 2**20)
    for _ in range(12):
        wire.send(request(body))
        region.wait(0.1)
    (connection,) = region.instance.server.connections
    assert connection._waiting_bytes <= MAX_WAITING_BYTES + 2 * len(body)
    region.instance.resume()
    region.wait(20.0)
    assert wire.received.count(b"HTTP/1.1 200") == 12
    region.close()


# Clients


class TestRealClients:
    """HTTP clients of Python's standard library, and curl."""

    @pytest.fixture
    def served(self, tmp_path: Path) -> Any:
        with Served(tmp_path, "--service", "echo=1", "--token", "") as served:
            yield served

    def test_the_standard_library(self, served: Served) -> None:
        """The requests reuse a connection, have a chunked body, or have an absolute target as for a proxy."""
        instance = served.instances[0]
        connection = http.client.HTTPConnection(instance["ip"], instance["port"], timeout=PATIENCE_S)
        for body in (b"one", iter([b"t", b"wo"]), b"three"):
            connection.request("POST", "/api/predict/echo", body)
            with connection.getresponse() as answer:
                assert answer.read() in (b"one", b"two", b"three")
        connection.close()
        proxy = urllib.request.ProxyHandler({"http": served.ready["url"]})
        opener = urllib.request.build_opener(proxy)
        with opener.open("http://region.example/api/predict/echo", b"hello", timeout=PATIENCE_S) as answer:
            assert answer.read() == b"hello"

    @pytest.mark.parametrize(
        "options",
        [
            ["--http2"],
            ["--http1.0"],
            ["--http1.0", "-H", "Connection: keep-alive"],
            ["-H", "Transfer-Encoding: chunked"],
            ["-H", "Expect: 100-continue"],
            ["--request-target", "http://region.example/api/predict/echo"],
        ],
    )
    def test_curl(self, served: Served, options: list[str]) -> None:
        """Both requests are sent on one connection, if the first response leaves it open."""
        instance = served.instances[0]
        for authority in (f"{instance['ip']}:{instance['port']}", served.ready["url"].removeprefix("http://")):
            url = f"http://{authority}/api/predict/echo"
            command = [
                program("curl"),
                "-sS",
                "--noproxy",
                "*",
                "--max-time",
                str(PATIENCE_S),
                *options,
                "-d",
                "hello",
                url,
                url,
            ]
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)  # noqa: S603
            assert (ended.stderr, ended.stdout) == ("", "hellohello")

    def test_ab(self, served: Served) -> None:
        """The request has the bytes that `ab -k` sends: HTTP/1.0 with `Connection: keep-alive`."""
        with Raw(served.instances[0]) as raw:
            for _ in range(3):
                raw.send(
                    b"POST /api/predict/echo HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-length: 2\r\n"
                    b"Content-type: text/plain\r\nHost: 127.0.0.1\r\nUser-Agent: ab\r\nAccept: */*\r\n\r\nhi"
                )
                status, headers, body = raw.response()
                assert (status, headers["connection"], body) == (200, "keep-alive", b"hi")
            assert raw.read(wait_s=0.1) == SILENCE
