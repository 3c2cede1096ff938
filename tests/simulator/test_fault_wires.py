"""Each fault of an instance over real sockets: the bytes that a raw client receives, and the row in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulator.fault_kinds import MALFORMED, ON_INSTANCES
from tests.patience import HOUR_MS, PATIENCE_S, until
from tests.simulator.raw import FIN, RST, SILENCE, Raw, request
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.tmpdir import TempPathFactory

BODY = b"0123456789" * 10


@pytest.fixture(scope="module")
def served(tmp_path_factory: TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("faults")
    with Served(folder, "--service", "echo=2", "--token", "", "--seed", "7", "--workers", "1", "--queue", "0") as found:
        yield found
    assert found.code == 0


@pytest.fixture
def harness(served: Served) -> Iterator[Harness]:
    yield Harness(served)
    assert served.admin("POST", "/v1/reset", {"seed": 7})[0] == 200


class Harness:
    """One instance, and faults for it."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.instance = served.instances[0]

    def fault(self, type_: str, *, name: str = "f", times: int | None = None, **attributes: Any) -> None:
        fault = {"name": name, "type": type_, "attributes": attributes, "times": times}
        status, answer = self.served.admin(
            "POST", "/v1/faults", {**fault, "target": {"service": "echo", "instance": "echo-0"}}
        )
        assert status == 201, answer

    def ask(self, body: bytes = BODY, **options: Any) -> Raw:
        return Raw(self.instance).send(request(body, **options))

    def rows(self) -> list[dict[str, Any]]:
        return self.served.admin("GET", "/v1/requests")[1]["requests"]  # type: ignore[no-any-return]

    def assert_struck(self, status: int, times: int = 1, name: str = "f") -> None:
        """Assert that the journal has a row with the status for each activation of the fault."""
        assert [(row["fault"], row["status"]) for row in self.rows() if row["fault"]] == [(name, status)] * times
        assert self.served.admin("GET", f"/v1/faults/{name}")[1]["struck"] == times


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_latency(harness: Harness, stream: str) -> None:
    """The response takes at least the delay minus the jitter. It is not changed."""
    harness.fault("latency", latency=150, jitter=20, stream=stream)
    with harness.ask() as raw:
        assert raw.response()[::2] == (200, BODY)
        assert raw.took_s >= 0.13
    harness.assert_struck(200)
    assert harness.rows()[0]["elapsed_s"] >= 0.13


def test_a_delayed_request_is_not_computed_after_its_client_disconnects(harness: Harness) -> None:
    """The journal's row of the request has status 499, as in the log of EAS."""
    harness.fault("latency", latency=HOUR_MS, stream="upstream")
    with harness.ask() as raw:
        assert raw.read(wait_s=0.1) == SILENCE
    until(harness.rows)
    harness.assert_struck(499)


def test_bandwidth(harness: Harness) -> None:
    """1,100 bytes at 10 KB/s take a tenth of a second, and arrive in several segments."""
    harness.fault("bandwidth", rate=10)
    with harness.ask(BODY * 10) as raw:
        assert raw.response()[::2] == (200, BODY * 10)
        assert raw.took_s >= 0.1
    harness.assert_struck(200)


def test_slicer(harness: Harness) -> None:
    """Each byte is sent in a separate segment, with pauses between segments."""
    harness.fault("slicer", average_size=1, delay=1000)
    with harness.ask() as raw:
        assert raw.response()[::2] == (200, BODY)
        assert raw.took_s >= 0.1
    harness.assert_struck(200)
    harness.fault("slicer", average_size=1, delay=HOUR_MS * 1000)
    with harness.ask() as raw:
        raw.read(until=1)
        assert raw.read(wait_s=0.2) == SILENCE
        assert raw.received == b"H"


def test_slicer_without_a_pause_keeps_the_connection(harness: Harness) -> None:
    harness.fault("slicer", average_size=7, size_variation=6)
    with harness.ask() as raw:
        for _ in range(2):
            assert raw.response()[::2] == (200, BODY)
            raw.send(request(BODY))
        assert raw.response()[::2] == (200, BODY)
    harness.assert_struck(200, times=3)


@pytest.mark.parametrize(("reset", "end"), [(False, FIN), (True, RST)])
def test_limit_data(harness: Harness, reset: bool, end: str) -> None:  # noqa: FBT001
    """The given number of bytes of head and body are sent before the end."""
    harness.fault("limit_data", bytes=50, reset=reset)
    with harness.ask() as raw:
        assert raw.read() == end
        assert raw.received.startswith(b"HTTP/1.1 200 OK")
        assert len(raw.received) == 50
    harness.assert_struck(200)


def test_http_status(harness: Harness) -> None:
    """The response has status, body and Retry-After, and the connection is reused."""
    harness.fault("http_status", code=429, body="slow down", retry_after=2, times=1)
    with harness.ask() as raw:
        status, headers, body = raw.response()
        assert (status, headers["retry-after"], body) == (429, "2", b"slow down")
        assert raw.send(request(BODY)).response()[0] == 200


@pytest.mark.parametrize(("timeout", "end"), [(0, SILENCE), (50, FIN)])
def test_timeout(harness: Harness, timeout: float, end: str) -> None:
    """The request gets no response. The connection stays open, or is closed after the timeout."""
    harness.fault("timeout", timeout=timeout)
    with harness.ask() as raw:
        assert raw.read(wait_s=0.2 if end == SILENCE else PATIENCE_S) == end
        assert raw.received == b""
    harness.assert_struck(0)


@pytest.mark.parametrize("timeout", [0, 50])
def test_reset_peer_after_the_request(harness: Harness, timeout: float) -> None:
    harness.fault("reset_peer", timeout=timeout)
    with harness.ask() as raw:
        assert raw.read() == RST
        assert raw.received == b""
        assert raw.took_s >= timeout / 1000
    harness.assert_struck(0)


def test_reset_peer_in_the_middle_of_the_request(harness: Harness) -> None:
    harness.fault("reset_peer", at="head")
    with Raw(harness.instance).send(request(BODY)[:-50]) as raw:
        assert raw.read() == RST
    harness.assert_struck(0)
    assert harness.rows()[0]["path"] == "/api/predict/echo"


def test_reset_peer_in_the_middle_of_the_body(harness: Harness) -> None:
    harness.fault("reset_peer", at="body")
    with harness.ask() as raw:
        assert raw.read() == RST
        assert raw.body == BODY[:50]
    harness.assert_struck(200)


def test_reset_peer_at_the_accept(harness: Harness) -> None:
    harness.fault("reset_peer", at="accept", times=1)
    with Raw(harness.instance) as raw:
        assert raw.read() == RST
    with harness.ask() as raw:
        assert raw.response()[0] == 200
    assert [(row["fault"], row["status"]) for row in harness.rows()] == [("f", 0), ("", 200)]


def test_truncate_body(harness: Harness) -> None:
    """Half of the body is sent, or the given size. The Content-Length is that of the truncated body."""
    harness.fault("truncate_body")
    with harness.ask() as raw:
        assert raw.response()[::2] == (200, BODY[:50])
        harness.fault("truncate_body", keep=3)
        assert raw.send(request(BODY)).response()[::2] == (200, BODY[:3])


def test_garble_body(harness: Harness) -> None:
    """The given number of bytes are changed, at positions that depend on the seed."""
    found = []
    for _ in range(2):
        harness.served.admin("POST", "/v1/reset", {"seed": 7})
        harness.fault("garble_body", bytes=5)
        with harness.ask() as raw:
            status, _, body = raw.response()
        assert (status, len(body)) == (200, len(BODY))
        assert sum(one != other for one, other in zip(body, BODY, strict=True)) == 5
        found.append(body)
    assert found[0] == found[1]
    harness.assert_struck(200)


@pytest.mark.parametrize(
    ("difference", "close", "end"), [(10, True, FIN), (10, False, SILENCE), (-10, True, FIN), (-1000, True, FIN)]
)
def test_wrong_content_length(harness: Harness, difference: int, close: bool, end: str) -> None:  # noqa: FBT001
    """The Content-Length differs by the given number. The whole body is sent."""
    harness.fault("wrong_content_length", difference=difference, close=close)
    with harness.ask() as raw:
        raw.read(until=BODY)
        assert raw.read(wait_s=0.2 if end == SILENCE else PATIENCE_S) == end
        assert f"Content-Length: {max(0, 100 + difference)}\r\n".encode() in raw.head + b"\r\n"
        assert raw.body == BODY
    harness.assert_struck(200)


EXPECTED = {
    "not_http": b"SSH-2.0",
    "bad_status_line": b"HTTP/1.1 abc",
    "http_2_version": b"HTTP/2.0 200",
    "no_colon": b"a header without a colon\r\n",
    "folded_header": b"\r\n two\r\n",
    "two_lengths": b"Content-Length: 101\r\nContent-Length: 100\r\n",
    "length_and_chunked": b"Transfer-Encoding: chunked\r\nContent-Length: 100\r\n",
    "bad_chunk_size": b"Transfer-Encoding: chunked\r\n\r\nnot-a-size\r\n",
    "huge_header": b"x" * 2**20,
    "endless_headers": b"X-Again: and again\r\n" * 20_000,
    "informational": b"HTTP/1.1 102 Processing\r\n\r\n" * 5 + b"HTTP/1.1 200 OK\r\n",
    "switching_protocols": b"HTTP/1.1 101 Switching Protocols\r\n",
    "unsolicited": b"nobody asked for this",
    "leading_garbage": b"\x00\x01\x02HTTP/1.1 200 OK",
}


@pytest.mark.parametrize("how", MALFORMED)
def test_malformed_response(harness: Harness, how: str) -> None:
    """After `informational` and `unsolicited`, which have a valid response, the connection stays open."""
    harness.fault("malformed_response", how=how)
    with harness.ask() as raw:
        keeps = how in ("informational", "unsolicited")
        if keeps:
            assert raw.read(until=b"nobody asked for this" if how == "unsolicited" else BODY) == ""
        assert raw.read(wait_s=0.2 if keeps else PATIENCE_S) == (SILENCE if keeps else FIN)
        assert EXPECTED[how] in raw.received
    harness.assert_struck(200)


def test_slow_close(harness: Harness) -> None:
    """The response has `Connection: close`, and the FIN is sent late."""
    harness.fault("slow_close", delay=100)
    with harness.ask() as raw:
        status, headers, body = raw.response()
        assert (status, headers["connection"], body) == (200, "close", BODY)
        assert raw.read() == FIN
        assert raw.took_s >= 0.1
    harness.assert_struck(200)


def test_no_request_is_answered_before_a_late_close(harness: Harness) -> None:
    harness.fault("slow_close", delay=HOUR_MS)
    with harness.ask() as raw:
        raw.response()
        assert raw.send(request(BODY)).read(wait_s=0.2) == SILENCE
        assert raw.received == b""
    harness.assert_struck(200)


@pytest.mark.parametrize(("reset", "end"), [(False, FIN), (True, RST)])
def test_close_idle(harness: Harness, reset: bool, end: str) -> None:  # noqa: FBT001
    """The connection is closed some time after the response, without notice."""
    harness.fault("close_idle", idle=50, reset=reset)
    with harness.ask() as raw:
        assert "connection" not in raw.response()[1]
        assert raw.read() == end
        assert raw.took_s >= 0.05
    harness.assert_struck(200)


def test_close_idle_spares_a_connection_that_is_used_in_time(harness: Harness) -> None:
    harness.fault("close_idle", idle=HOUR_MS, times=1)
    with harness.ask() as raw:
        raw.response()
        assert raw.send(request(BODY)).response()[0] == 200


@pytest.mark.parametrize(("reset", "end"), [(False, FIN), (True, RST)])
def test_close_idle_racing_a_write(harness: Harness, reset: bool, end: str) -> None:  # noqa: FBT001
    """The request that was just written gets no response."""
    harness.fault("close_idle", race=True, reset=reset)
    with harness.ask() as raw:
        raw.response()
        assert raw.read(wait_s=0.1) == SILENCE
        assert raw.send(request(BODY)).read() == end
        assert raw.received == b""
    harness.assert_struck(200)


def test_refuse(harness: Harness) -> None:
    """New connections are refused, and open ones still work. Afterwards the same port accepts connections again."""
    with harness.ask() as raw:
        raw.response()
        harness.fault("refuse")
        with pytest.raises(ConnectionRefusedError):
            Raw(harness.instance)
        assert raw.send(request(BODY)).response()[0] == 200
        harness.served.admin("DELETE", "/v1/faults/f")
        with harness.ask() as again:
            assert again.response()[0] == 200


def test_a_refusal_with_a_limit_is_a_reset_at_the_accept(harness: Harness) -> None:
    """The simulator counts connections that it resets. The kernel does not report connections that it refuses."""
    harness.fault("refuse", times=2)
    for _ in range(2):
        with Raw(harness.instance) as raw:
            assert raw.read() == RST
    with harness.ask() as raw:
        assert raw.response()[0] == 200
    assert [row["fault"] for row in harness.rows()] == ["f", "f", ""]


def test_slow_keeps_the_worker_busy(harness: Harness) -> None:
    """With one worker and no queue, the next request gets status 450."""
    harness.fault("slow", name="long", extra=HOUR_MS)
    with harness.ask():
        until(lambda: harness.served.admin("GET", "/v1/services/echo/instances/echo-0")[1]["in_flight"])
        with harness.ask() as second:
            assert second.response()[0] == 450


def test_slow_takes_longer(harness: Harness) -> None:
    harness.fault("slow", extra=100)
    with harness.ask() as raw:
        assert raw.response()[::2] == (200, BODY)
        assert raw.took_s >= 0.1


def test_reused(harness: Harness) -> None:
    """The address responds with the 404 of another service."""
    harness.fault("reused")
    with harness.ask() as raw:
        assert raw.response()[0] == 404
    harness.assert_struck(404)


def test_slow_first_byte(harness: Harness) -> None:
    """The head is sent immediately, and the body after the delay."""
    harness.fault("slow_first_byte", delay=300)
    with harness.ask() as raw:
        assert raw.read(wait_s=0.1) == SILENCE
        assert (raw.head[:15], raw.body) == (b"HTTP/1.1 200 OK", b"")
        assert raw.response()[2] == BODY
        assert raw.took_s >= 0.3
    harness.assert_struck(200)


def test_slow_first_byte_does_not_delay_a_response_without_a_body(harness: Harness) -> None:
    """The connection serves the next request immediately."""
    harness.fault("slow_first_byte", delay=HOUR_MS)
    with harness.ask(b"") as raw:
        assert raw.response()[::2] == (200, b"")
        assert raw.send(request()).response()[::2] == (200, b"")
    harness.assert_struck(200, times=2)


@pytest.mark.parametrize("duration", [0, 200])
def test_stall_stream(harness: Harness, duration: int) -> None:
    """Part of the body is sent at once, and the rest after the duration. With duration 0, the rest is never sent."""
    harness.fault("stall_stream", after_bytes=30, duration=duration)
    with harness.ask() as raw:
        assert raw.read(wait_s=0.1) == SILENCE
        assert raw.body == BODY[:30]
        assert raw.read(wait_s=0.4) == SILENCE
        assert raw.body == (BODY if duration else BODY[:30])
    harness.assert_struck(200)


@pytest.mark.parametrize(("reset", "end"), [(False, FIN), (True, RST)])
def test_cut_stream(harness: Harness, reset: bool, end: str) -> None:  # noqa: FBT001
    """Exactly the given number of bytes of the body are sent before the end."""
    harness.fault("cut_stream", after_bytes=30, reset=reset)
    with harness.ask() as raw:
        assert raw.read() == end
        assert raw.body == BODY[:30] or (reset and BODY.startswith(raw.body))
    harness.assert_struck(200)


def test_garble_stream(harness: Harness) -> None:
    """Only bytes at the given position are changed."""
    harness.fault("garble_stream", after_bytes=30, bytes=5)
    with harness.ask() as raw:
        _, _, body = raw.response()
    assert [at for at in range(len(BODY)) if body[at] != BODY[at]] == [30, 31, 32, 33, 34]
    harness.assert_struck(200)


def test_faults_are_combined(harness: Harness) -> None:
    """The response is late, truncated and in small segments. Its row in the journal has the names of all faults."""
    harness.fault("slicer", name="a", average_size=10)
    harness.fault("truncate_body", name="b", keep=20)
    harness.fault("latency", name="c", latency=50)
    with harness.ask() as raw:
        assert raw.response()[::2] == (200, BODY[:20])
        assert raw.took_s >= 0.05
    assert harness.rows()[0]["fault"] == "a,b,c"


def test_every_fault_of_instances_is_tested_here_or_with_the_queues() -> None:
    text = Path(__file__).read_text("utf-8") + (Path(__file__).parent / "queues/test_faults.py").read_text("utf-8")
    calls = ("harness.fault", "region.queue_fault")
    forgotten = [name for name in ON_INSTANCES if not any(f'{call}("{name}"' in text for call in calls)]
    assert not forgotten, f"{forgotten}: write a test in this file that shows the effect on the wire"
