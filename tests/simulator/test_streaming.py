"""Streamed responses: chunks, framing, flow control, and each way to end."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from simulator import Fault, ServiceSpec, State, Target
from simulator.admin import views
from simulator.processors import CODECS, Compressed, Later, Response, StreamResponse, UserProcessor
from simulator.processors.requests import UserRequestProcessor
from tests.simulator.raw import request
from tests.simulator.region import Region

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from simulator.processors import ProcessorRequest
    from tests.simulator.region import Wire


def chunks(wire: Wire) -> list[bytes]:
    """Return the chunks of a chunked body, including the empty last chunk."""
    found, rest = [], wire.body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return found


def slow(_: bytes) -> Iterator[Any]:
    """Yield three chunks with pauses of 100 ms."""
    for piece in (b"one", "two", bytearray(b"three")):
        yield Later(0.1, piece)


def room_with(processor: Callable[..., Any] | Any, **more: Any) -> Region:
    return Region(ServiceSpec("echo", 1, processor=processor, **more))


def last_row(region: Region) -> Any:
    return region.world.journal.rows[-1]


# Chunks


def test_each_piece_is_sent_as_a_chunk_immediately() -> None:
    region = room_with(slow)
    wire = region.ask()
    region.wait(0.15)
    assert wire.headers["transfer-encoding"] == "chunked"
    assert chunks(wire) == [b"one"]
    region.wait(0.1)
    assert chunks(wire) == [b"one", b"two"]
    region.wait(0.2)
    assert chunks(wire) == [b"one", b"two", b"three", b""]
    assert not wire.end
    assert wire.send(request(b"again")) is wire  # the connection is reused
    region.wait(0.5)
    assert wire.received.count(b"HTTP/1.1 200") == 2
    region.close()


def test_the_row_has_the_first_byte_the_bytes_and_the_end() -> None:
    region = room_with(slow)
    region.ask()
    region.wait(0.5)
    row = last_row(region)
    assert (row.status, row.bytes_out, row.stream, row.is_good) == (200, 11, "complete", True)
    assert row.first_byte_s == pytest.approx(0.1, abs=0.01)
    assert row.elapsed_s == pytest.approx(0.3, abs=0.01)
    region.close()


def test_the_first_byte_of_a_complete_response_is_its_time_of_sending() -> None:
    region = Region(processing=0.2, instances=1)
    region.ask(b"x")
    region.wait(0.3)
    assert last_row(region).first_byte_s == last_row(region).elapsed_s > 0.19
    assert last_row(region).stream == ""
    region.close()


def test_an_empty_first_piece_sends_the_head_alone() -> None:
    def patient(_: bytes) -> Iterator[Any]:
        yield b""
        yield Later(1.0, b"late")

    region = room_with(patient)
    wire = region.ask()
    region.wait(0.1)
    assert (wire.status, wire.body) == (200, b"")
    region.wait(1.1)
    assert chunks(wire) == [b"late", b""]
    region.close()


def test_an_asynchronous_generator_may_wait_for_anything() -> None:
    region = Region(ServiceSpec("other", 1))

    async def counting(_: bytes) -> AsyncIterator[Any]:
        for number in range(3):
            await deferLater(region.world.reactor, 0.1, lambda: None)
            yield b"%d" % number

    region.world.add_service(ServiceSpec("echo", 1, processor=counting))
    wire = region.ask(service="echo", port=region.world.instance("echo-0").port)
    region.wait(0.25)
    assert chunks(wire) == [b"0", b"1"]
    region.wait(0.2)
    assert chunks(wire) == [b"0", b"1", b"2", b""]
    region.close()


def test_a_piece_may_be_a_deferred() -> None:
    later: Deferred[bytes] = Deferred()

    def waiting(_: bytes) -> Iterator[Any]:
        yield b"a"
        yield later

    region = room_with(waiting)
    wire = region.ask()
    region.wait(0.1)
    assert chunks(wire) == [b"a"]
    later.callback(b"b")
    region.wait(0.1)
    assert chunks(wire) == [b"a", b"b", b""]
    region.close()


def test_a_codec_encodes_each_piece() -> None:
    def items(value: Any) -> Iterator[Any]:
        for item in value:
            yield Later(0.1, {"item": item})

    region = room_with(UserProcessor(items, CODECS["json"]))
    wire = region.ask(b"[1, 2]")
    region.wait(0.5)
    assert chunks(wire) == [b'{"item": 1}', b'{"item": 2}', b""]
    region.close()


@pytest.mark.parametrize(("name", "wbits"), [("gzip", 31), ("zlib", 15)])
def test_each_compressed_chunk_can_be_decompressed_immediately(name: str, wbits: int) -> None:
    region = room_with(Compressed(UserProcessor(slow), "", name))
    wire = region.ask()
    region.wait(0.15)
    reader = zlib.decompressobj(wbits)
    assert reader.decompress(b"".join(chunks(wire))) == b"one"
    region.wait(0.5)
    whole = b"".join(chunks(wire))
    assert (gzip.decompress(whole) if name == "gzip" else zlib.decompress(whole)) == b"onetwothree"
    assert wire.headers["content-encoding"] == {"gzip": "gzip", "zlib": "deflate"}[name]
    region.close()


# Requests and responses


def describe(asked: ProcessorRequest) -> Response:
    text = f"{asked.method} {asked.path}?{asked.query} {asked.headers['x-mine']} {asked.body.decode()}"
    return Response(201, text.encode(), "text/plain", {"X-Instance": asked.instance})


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "POST"])
def test_every_method_reaches_a_processor_with_its_path(method: str) -> None:
    region = room_with(UserRequestProcessor(describe))
    data = request(b"hi", "echo", path="/v1/models?a=b", headers={"X-Mine": "mine"}).replace(b"POST", method.encode())
    wire = region.connect().send(data)
    region.wait(0.1)
    assert (wire.status, wire.headers["x-instance"]) == (201, "echo-0")
    assert wire.body == f"{method} /v1/models?a=b mine hi".encode()
    assert last_row(region).method == method
    region.close()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_response_without_a_body_sends_none_and_closes_the_source(method: str, status: int) -> None:
    closed: list[bool] = []

    def pieces(_: bytes) -> Iterator[bytes]:
        try:
            yield b"not to be sent"
            yield b"neither"
        finally:
            closed.append(True)

    region = room_with(lambda body: StreamResponse(pieces(body), status))
    wire = region.connect().send(f"{method} /api/predict/echo HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    region.wait(0.1)
    assert wire.status == status
    assert wire.received.endswith(b"\r\n\r\n")
    assert wire.body == b""
    assert ("transfer-encoding" in wire.headers) is (method == "HEAD")
    assert closed == [True]
    wire.send(f"{method} /api/predict/echo HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    region.wait(0.1)
    assert wire.received.count(b"HTTP/1.1") == 2
    region.close()


def test_a_client_of_http_1_0_reads_until_the_close() -> None:
    region = room_with(slow)
    wire = region.connect().send(b"POST /api/predict/echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    region.wait(0.15)
    assert wire.body == b"one"
    region.wait(0.5)
    assert (wire.body, wire.end) == (b"onetwothree", "ConnectionDone")
    assert "transfer-encoding" not in wire.headers
    region.close()


def test_an_exception_before_the_first_piece_is_a_400() -> None:
    def failing(_: bytes) -> Iterator[bytes]:
        raise ValueError("no such thing")
        yield b""

    region = room_with(failing)
    wire = region.ask()
    region.wait(0.1)
    assert (wire.status, wire.body) == (400, b"no such thing")
    assert region.instance.workers.busy == 0
    region.close()


def test_an_exception_after_it_breaks_the_connection() -> None:
    def failing(_: bytes) -> Iterator[Any]:
        yield b"a"
        raise ValueError("too late")

    region = room_with(failing)
    wire = region.ask()
    region.wait(0.1)
    assert (chunks(wire), wire.end) == ([b"a"], "ConnectionDone")
    assert (last_row(region).stream, last_row(region).is_good) == ("failed", False)
    region.close()


def test_a_piece_of_another_kind_is_an_error() -> None:
    region = room_with(lambda _: iter([3]))
    wire = region.ask()
    region.wait(0.1)
    assert wire.status == 400
    assert b"a piece of a stream must be bytes or text, got int" in wire.body
    region.close()


# Flow control


PIECES, PIECE_BYTES = 128, 2**14


def large(taken: list[int]) -> Callable[[bytes], Iterator[bytes]]:
    def pieces(_: bytes) -> Iterator[bytes]:
        for _number in range(PIECES):
            taken.append(PIECE_BYTES)
            yield bytes(PIECE_BYTES)

    return pieces


def test_a_client_that_does_not_read_stops_the_source() -> None:
    taken: list[int] = []
    region = room_with(large(taken))
    wire = region.connect()
    wire.transport.pauseProducing()
    wire.send(request(b"x"))
    region.wait(1.0)
    before = sum(taken)
    assert before < 2**20
    region.wait(10.0)
    assert sum(taken) == before
    wire.transport.resumeProducing()
    region.wait(1.0)
    assert len(taken) == PIECES
    assert b"".join(chunks(wire)) == bytes(PIECES * PIECE_BYTES)
    region.close()


def test_pieces_without_pauses_are_written_together() -> None:
    region = room_with(lambda _: iter([b"x"] * 1000))
    wire = region.ask()
    region.wait(0.1)
    assert chunks(wire) == [b"x"] * 1000 + [b""]
    region.close()


# Ends


@pytest.mark.parametrize("is_async", [False, True])
def test_a_client_that_goes_away_closes_the_source_and_frees_the_worker(*, is_async: bool) -> None:
    closed: list[str] = []

    def pieces(_: bytes) -> Iterator[Any]:
        try:
            while True:
                yield Later(0.1, b"x")
        finally:
            closed.append("sync")

    async def pieces_async(_: bytes) -> AsyncIterator[Any]:
        try:
            while True:
                yield Later(0.1, b"x")
        finally:
            closed.append("async")

    region = room_with(pieces_async if is_async else pieces)
    wire = region.ask()
    region.wait(0.55)
    assert region.instance.workers.busy == 1
    wire.transport.loseConnection()
    region.wait(0.05)
    assert closed == ["async" if is_async else "sync"]
    assert region.instance.workers.busy == 0
    row = last_row(region)
    assert (row.status, row.stream, row.bytes_out) == (200, "client_closed", 5)
    region.close()


def test_a_client_that_leaves_before_the_first_piece_is_a_499() -> None:
    closed: list[bool] = []

    def pieces(_: bytes) -> Iterator[Any]:
        try:
            yield Later(1.0, b"x")
        finally:
            closed.append(True)

    region = room_with(pieces)
    wire = region.ask()
    region.wait(0.1)
    wire.transport.abortConnection()
    region.wait(0.1)
    assert (closed, region.rows) == ([True], [("echo-0", 499)])
    assert region.instance.workers.busy == 0
    region.close()


def test_a_response_that_does_not_begin_in_time_is_a_408() -> None:
    region = room_with(lambda _: iter([Later(10.0, b"x")]), keepalive_s=1.0)
    wire = region.ask()
    region.wait(1.1)
    assert wire.status == 408
    assert region.instance.workers.busy == 0
    region.close()


def test_a_response_that_has_begun_has_no_time_limit() -> None:
    region = room_with(slow, keepalive_s=0.15)
    wire = region.ask()
    region.wait(0.5)
    assert chunks(wire)[-1] == b""
    region.close()


def test_a_crash_resets_the_stream() -> None:
    region = room_with(slow)
    wire = region.ask()
    region.wait(0.15)
    region.instance.crash()
    region.wait(0.1)
    assert (chunks(wire), wire.end) == ([b"one"], "ConnectionLost")
    assert last_row(region).stream == "crashed"
    region.close()


def test_a_hung_instance_sends_nothing_until_it_runs_again() -> None:
    region = room_with(slow)
    wire = region.ask()
    region.wait(0.15)
    region.instance.hang()
    region.wait(5.0)
    assert chunks(wire) == [b"one"]
    region.instance.resume()
    region.wait(0.3)
    assert chunks(wire) == [b"one", b"two", b"three", b""]
    region.close()


def test_a_draining_instance_finishes_the_stream_and_closes() -> None:
    region = room_with(slow)
    wire = region.ask()
    region.wait(0.15)
    region.instance.set_state(State.DRAINING)
    region.wait(0.5)
    assert (chunks(wire)[-1], wire.end) == (b"", "ConnectionDone")
    region.close()


def test_a_worker_is_busy_during_a_stream_and_later_requests_wait() -> None:
    region = room_with(slow, workers=1, queue=1)
    first, second, third = region.ask(), region.ask(), region.ask()
    region.wait(0.05)
    assert third.status == 450
    region.wait(0.4)
    assert chunks(first)[-1] == b""
    assert chunks(second)[0] == b"one"
    region.wait(1.0)
    region.close()


def test_running_streams_are_listed() -> None:
    region = room_with(slow)
    region.ask()
    region.wait(0.15)
    (stream,) = region.instance.streams
    assert (stream.status, stream.bytes_out) == (200, 3)
    (told,) = views.streams(region.world)
    shown = views.stream(region.world, told)
    assert (shown["instance"], shown["bytes_out"], shown["path"]) == ("echo-0", 3, "/api/predict/echo")
    assert shown["first_byte_s"] == pytest.approx(0.1, abs=0.01)
    assert views.instance(region.instance)["streams"] == 1
    region.wait(0.5)
    assert not region.instance.streams
    region.close()


def test_the_first_bytes_of_a_stream_are_captured() -> None:
    region = room_with(slow, capture_bytes=5)
    region.ask()
    region.wait(0.5)
    capture = region.world.journal.captures.get(1)
    assert capture is not None
    assert capture.response is not None
    assert (capture.response.body, capture.response.body_bytes) == (b"onetw", 11)
    region.close()


# Gateway


def through(region: Region) -> Wire:
    port = int(region.world.url.rpartition(":")[2])
    return region.connect(port).send(request(b"x", "echo"))


def test_the_gateway_forwards_chunks_immediately() -> None:
    region = room_with(slow)
    wire = through(region)
    region.wait(0.15)
    assert chunks(wire) == [b"one"]
    region.wait(0.5)
    assert b"".join(chunks(wire)) == b"onetwothree"
    assert chunks(wire)[-1] == b""
    assert not region.instance.server.connections
    region.close()


def test_after_the_head_the_gateway_can_only_close_the_connection() -> None:
    region = room_with(slow)
    wire = through(region)
    region.wait(0.15)
    region.instance.crash()
    region.wait(0.1)
    assert (chunks(wire), wire.end) == ([b"one"], "ConnectionDone")
    region.close()


def test_a_body_with_a_length_keeps_it_through_the_gateway() -> None:
    region = Region(instances=1)
    region.world.faults.add(Fault("bandwidth", Target("echo"), {"rate": 1}))
    port = int(region.world.url.rpartition(":")[2])
    wire = region.connect(port).send(request(b"y" * 1000, "echo"))
    region.wait(0.6)
    assert wire.headers["content-length"] == "1000"
    assert 100 < len(wire.body) < 900
    region.wait(1.0)
    assert wire.body == b"y" * 1000
    region.close()


def test_the_gateway_reads_no_faster_than_its_client() -> None:
    taken: list[int] = []
    region = room_with(large(taken))
    wire = region.connect(int(region.world.url.rpartition(":")[2]))
    wire.transport.pauseProducing()
    wire.send(request(b"x", "echo"))
    region.wait(5.0)
    before = sum(taken)
    assert before < PIECES * PIECE_BYTES
    region.wait(200.0)
    assert (sum(taken), wire.end) == (before, "")
    wire.transport.abortConnection()
    region.wait(0.1)
    assert not region.instance.server.connections
    assert last_row(region).stream == "client_closed"
    region.close()


def test_a_stalled_body_ends_after_the_gateways_timeout() -> None:
    region = room_with(slow)
    region.world.faults.add(Fault("stall_stream", Target("echo"), {"after_bytes": 3}))
    wire = through(region)
    region.wait(59.0)
    assert (chunks(wire), wire.end) == ([b"one"], "")
    region.wait(3.0)
    assert (chunks(wire), wire.end) == ([b"one"], "ConnectionDone")
    region.close()
