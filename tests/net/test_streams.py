"""Streams: reading while the response arrives, and failover until its head has arrived."""

from __future__ import annotations

import asyncio
import gzip
import sys
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from incremental import Version
from twisted import version
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

import eas_tw.aio
from eas_tw import AttemptStatus, BodyError, ClientClosed, ConfigError, DeadlineExceeded, OpeningStream, StatusError
from eas_tw.errors import StreamBroken
from eas_tw.telemetry.events import StreamEnded
from tests.net.calling import Harness, Result, response, says
from tests.net.traps import Trap

if TYPE_CHECKING:
    from eas_tw.streaming import Stream
    from tests.net.wire import Wire

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
# Twisted before 25.5 runs more functions of its own for each `await`.
MOST_CALLS_PER_EVENT = 18 if version >= Version("Twisted", 25, 5, 0) else 22


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def opened(harness: Harness, **options: Any) -> tuple[Stream, Wire]:
    """Return a stream whose head has arrived, and its transport."""
    result = Result(harness.client.stream(b"hello", **options).open())
    wire = harness.accept()
    says(wire, HEAD)
    return result.value, wire


def read(stream: Stream) -> Result:
    return Result(stream.next_piece())


def collected(coroutine: Any) -> Result:
    return Result(Deferred.fromCoroutine(coroutine))


def test_chunks_can_be_read_when_they_arrive() -> None:
    harness = Harness()
    stream, wire = opened(harness)
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
    assert stream.instance in harness.client.instances
    waiting = read(stream)
    assert not waiting.fired
    says(wire, chunk(b"one"))
    assert waiting.value == b"one"
    says(wire, chunk(b"two") + chunk(b"three"))
    assert read(stream).value == b"twothree"
    says(wire, END)
    assert read(stream).value == b""
    assert harness.client.counters.answered == 1
    harness.assert_clean()


def test_the_connection_of_a_stream_that_was_read_to_its_end_is_reused() -> None:
    harness = Harness(1)
    stream, wire = opened(harness)
    says(wire, chunk(b"x") + END)
    assert (read(stream).value, read(stream).value) == (b"x", b"")
    again = harness.call()
    says(wire, response())
    assert str(again.value) == "ok"
    harness.assert_clean()


def test_the_raw_head_and_body_of_a_response_are_available() -> None:
    harness = Harness()
    result = Result(harness.client.stream(b"hello").open())
    wire = harness.accept()
    packed = gzip.compress(b"text")
    says(wire, b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\n")
    says(wire, b"Content-Length: %d\r\n\r\n" % len(packed) + packed)
    stream: Stream = result.value
    length = (b"Content-Length", b"%d" % len(packed))
    cookies = ((b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"))
    assert stream.raw_headers == (*cookies, (b"Content-Encoding", b"gzip"), length)

    async def read_raw() -> bytes:
        return b"".join([piece async for piece in stream.iter_raw()])

    assert collected(read_raw()).value == packed
    harness.assert_clean()


@pytest.mark.parametrize("then", ["end", "more", "nothing", "unread"])
def test_a_closed_stream_may_end_within_a_grace_period(then: str) -> None:
    """The connection is reused if the stream ends in time. With unread bytes, more bytes, or no end, it is closed."""
    harness = Harness(1)
    stream, wire = opened(harness)
    says(wire, chunk(b"last"))
    if then != "unread":
        assert read(stream).value == b"last"
    stream.close(grace_s=0.1)
    if then == "end":
        says(wire, END)
    elif then == "more":
        says(wire, chunk(b"more"))
    elif then == "nothing":
        harness.reactor.advance(0.11)
    broken = {} if then == "end" else {"cancelled": 1}
    assert dict(harness.client.counters.streams_broken) == broken
    if then == "end":
        again = harness.call()
        says(wire, response())
        assert str(again.value) == "ok"
    harness.assert_clean()


@pytest.mark.parametrize("first", ["one", "two"])
def test_a_second_response_behind_a_stream_is_not_part_of_it(first: str) -> None:
    """The second response may arrive with the first bytes of the body or later. In both cases the connection closes."""
    harness = Harness(1)
    stream, wire = opened(harness)
    if first == "two":
        says(wire, chunk(b"my"))
        says(wire, chunk(b"own") + END + response(body=b"another's"))
    else:
        says(wire, chunk(b"my") + chunk(b"own") + END + response(body=b"another's"))
    assert collected(stream.read()).value == b"myown"
    assert not wire.is_open
    assert harness.client.counters.streams_broken == {}
    harness.assert_clean()


def test_leaving_the_block_closes_a_stream_that_is_not_read_to_its_end() -> None:
    harness = Harness()

    async def leave_early() -> str:
        async with harness.client.stream(b"hello") as stream:
            async for piece in stream:
                return piece.decode()
        return ""

    result = collected(leave_early())
    wire = harness.accept()
    says(wire, HEAD + chunk(b"first"))
    assert result.value == "first"
    assert not wire.is_open
    assert harness.client.counters.streams_broken == {"cancelled": 1}
    harness.assert_clean()


def test_a_slow_reader_makes_the_instance_wait() -> None:
    harness = Harness(stream_buffer_bytes=10)
    stream, wire = opened(harness)
    says(wire, chunk(b"0123456789"))
    assert not wire.is_paused
    says(wire, chunk(b"x"))
    assert wire.is_paused
    assert read(stream).value == b"0123456789x"
    assert not wire.is_paused
    stream.close()
    harness.assert_clean()


@pytest.mark.parametrize("how", ["cut", "violation"])
def test_a_stream_that_breaks_after_the_head_is_not_retried(how: str) -> None:
    harness = Harness()
    heard: list[Any] = []
    harness.client.listen(heard.append)
    stream, wire = opened(harness)
    says(wire, chunk(b"abc"))
    if how == "cut":
        wire.lose(ConnectionLost())
    else:
        says(wire, b"zz\r\n")
    assert read(stream).value == b"abc"
    error = read(stream).error
    assert isinstance(error, StreamBroken)
    assert error.received_bytes == 3
    assert [attempt.outcome.attempt_status for attempt in error.attempts] == [
        AttemptStatus.RESPONSE_TRUNCATED if how == "cut" else AttemptStatus.VIOLATION
    ]
    assert not harness.reactor.dials
    (ended,) = [event for event in heard if isinstance(event, StreamEnded)]
    assert (ended.received_bytes, ended.instance) == (3, stream.instance)
    harness.assert_clean()


def test_a_stream_is_retried_on_another_instance_before_the_head() -> None:
    harness = Harness()
    result = Result(harness.client.stream(b"hello").open())
    says(harness.accept(), response(503, b"busy"))
    wire = harness.accept()
    says(wire, HEAD)
    stream = result.value
    says(wire, chunk(b"x") + END)
    assert collected(stream.read()).value == b"x"
    harness.assert_clean()


def test_another_status_is_an_error_with_its_body() -> None:
    harness = Harness()
    result = Result(harness.client.stream(b"hello").open())
    says(harness.accept(), response(400, b"no such model"))
    assert isinstance(result.error, StatusError)
    assert result.error.body == b"no such model"
    harness.assert_clean()


def test_with_any_status_every_status_is_a_stream() -> None:
    harness = Harness()
    result = Result(harness.client.stream(b"hello", any_status=True).open())
    says(harness.accept(), response(400, b"no such model"))
    assert result.value.status == 400
    assert collected(result.value.read()).value == b"no such model"
    harness.assert_clean()


def test_the_head_has_a_deadline_and_the_body_has_none() -> None:
    harness = Harness(1, timeout_s=5.0)
    late = Result(harness.client.stream(b"hello").open())
    harness.accept()
    harness.reactor.advance(5.0)
    assert isinstance(late.error, DeadlineExceeded)
    stream, wire = opened(harness)
    for _ in range(10):
        harness.reactor.advance(4.0)
        says(wire, chunk(b"x"))
    assert read(stream).value == b"x" * 10
    stream.close()
    harness.assert_clean()


def test_a_stream_without_bytes_for_its_idle_timeout_is_broken() -> None:
    """The idle timeout is 30 s by default. It is suspended while the reader pauses the stream."""
    harness = Harness(1, stream_buffer_bytes=1)
    stream, wire = opened(harness)
    harness.reactor.advance(29.0)
    says(wire, chunk(b"x"))
    harness.reactor.advance(29.0)
    says(wire, chunk(b"y"))
    assert wire.is_paused
    harness.reactor.advance(100.0)
    assert read(stream).value == b"xy"
    waiting = read(stream)
    harness.reactor.advance(29.0)
    assert not waiting.fired
    harness.reactor.advance(31.0)
    assert isinstance(waiting.error, StreamBroken)
    assert waiting.attempt_statuses == [AttemptStatus.UNRESPONSIVE]
    harness.assert_clean()


def test_a_total_time_ends_a_stream_that_flows() -> None:
    harness = Harness(1)
    stream, wire = opened(harness, total_timeout_s=2.0)
    for _ in range(4):
        says(wire, chunk(b"x"))
        harness.reactor.advance(0.5)
    assert read(stream).value == b"xxxx"
    assert read(stream).attempt_statuses == [AttemptStatus.DEADLINE]
    assert harness.client.ejected == ()
    harness.assert_clean()


def test_cancelling_the_read_closes_the_connection() -> None:
    harness = Harness()
    stream, wire = opened(harness)
    waiting = read(stream)
    waiting.deferred.cancel()
    assert not wire.is_open
    harness.assert_clean()


def test_cancelling_a_coroutine_that_reads_closes_the_connection() -> None:
    harness = Harness()
    stream, wire = opened(harness)
    seen: list[bytes] = []
    see = seen.append

    async def pieces() -> None:
        async for piece in stream:
            see(piece)

    reading = collected(pieces())
    says(wire, chunk(b"one"))
    says(wire, chunk(b"two"))
    assert seen == [b"one", b"two"]
    assert not reading.fired
    reading.deferred.cancel()
    assert isinstance(reading.error, CancelledError)
    assert not wire.is_open
    harness.assert_clean()


@pytest.mark.parametrize("late", [b"", chunk(b"late"), END])
def test_cancelling_a_task_that_reads_closes_the_connection(late: bytes) -> None:
    """In asyncio, a task ends one loop iteration after `cancel`. Bytes that arrive between the two are dropped."""
    harness = Harness(1)
    stream, wire = opened(harness)
    adapted = eas_tw.aio.PredictClient("localhost", "svc")._adapted(stream)
    seen: list[str] = []
    see = seen.append

    async def events() -> None:
        async for event in adapted.events():
            see(event.data)

    async def main() -> None:
        task = asyncio.ensure_future(events())
        for data in (b"data: one\n\n", b"data: two\n\n"):
            await asyncio.sleep(0)
            says(wire, chunk(data))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        says(wire, late)
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert seen == ["one", "two"]
    assert wire.is_open is (late == END)  # a body that has ended needs no close
    harness.assert_clean()


def test_a_task_gets_the_error_of_a_stream_that_breaks() -> None:
    harness = Harness()
    stream, wire = opened(harness)
    adapted = eas_tw.aio.PredictClient("localhost", "svc")._adapted(stream)

    async def main() -> None:
        task = asyncio.ensure_future(adapted.read())
        await asyncio.sleep(0)
        wire.lose(ConnectionLost())
        with pytest.raises(StreamBroken):
            await task

    asyncio.run(main())
    harness.assert_clean()


def test_a_coroutine_gets_the_error_of_a_stream_that_breaks() -> None:
    harness = Harness()
    stream, wire = opened(harness)

    async def events() -> list[str]:
        return [event.data async for event in stream.events()]

    reading = collected(events())
    says(wire, chunk(b"data: one\n\n"))
    wire.lose(ConnectionLost())
    assert isinstance(reading.error, StreamBroken)
    assert reading.error.received_bytes == len(b"data: one\n\n")
    harness.assert_clean()


def test_a_stream_has_one_reader_at_a_time() -> None:
    harness = Harness()
    stream, wire = opened(harness)
    first = collected(stream.read())
    second = collected(stream.read())
    assert isinstance(second.error, RuntimeError)
    says(wire, chunk(b"x") + END)
    assert first.value == b"x"
    harness.assert_clean()


def test_raw_chunks_that_have_arrived_are_returned_immediately() -> None:
    harness = Harness()
    stream, wire = opened(harness)
    says(wire, chunk(b"one"))
    says(wire, chunk(b"two"))

    async def raw() -> list[bytes]:
        return [piece async for piece in stream.iter_raw()]

    reading = collected(raw())
    says(wire, chunk(b"three"))
    says(wire, END)
    assert reading.value == [b"onetwo", b"three"]
    harness.assert_clean()


def test_an_event_costs_few_function_calls() -> None:
    """All Python functions from the transport to the reader are counted. benchmarks/streams measures times."""
    harness = Harness()
    stream, wire = opened(harness)
    seen: list[str] = []
    see = seen.append

    async def events() -> None:
        async for event in stream.events():
            see(event.data)

    reading = collected(events())
    event = chunk(b"data: one\n\n")
    says(wire, event)
    calls: Counter[str] = Counter()

    def count(frame: Any, kind: str, _: Any) -> None:
        if kind == "call":
            calls[frame.f_code.co_qualname] += 1

    receive = wire.protocol.dataReceived
    sys.setprofile(count)
    try:
        for _ in range(100):
            receive(event)
    finally:
        sys.setprofile(None)
    assert len(seen) == 101
    assert calls.total() <= MOST_CALLS_PER_EVENT * 100, calls
    says(wire, END)
    assert reading.fired
    harness.assert_clean()


def test_closing_the_client_waits_for_streams_and_then_breaks_them() -> None:
    harness = Harness(1, drain_timeout_s=5.0)
    stream, wire = opened(harness)
    waiting = read(stream)
    closing = Result(harness.client.close())
    harness.reactor.advance(4.0)
    assert not closing.fired
    assert not waiting.fired
    harness.reactor.advance(1.0)
    assert closing.fired
    assert isinstance(waiting.error, StreamBroken)
    assert not wire.is_open
    assert isinstance(Result(harness.client.stream(b"").open()).error, ClientClosed)


def test_a_stream_is_in_flight_until_its_last_byte() -> None:
    harness = Harness(2, max_in_flight_per_instance=1)
    stream, wire = opened(harness)
    other = harness.call()
    says(harness.accept(), response())
    assert str(other.value) == "ok"
    third = harness.call()
    assert not third.fired
    says(next(other for other in harness.reactor.wires if other is not wire), response())
    assert str(third.value) == "ok"
    stream.close()
    harness.assert_clean()


def test_ten_thousand_chunks_of_one_segment_are_one_piece() -> None:
    harness = Harness()
    stream, wire = opened(harness)
    says(wire, chunk(b"x") * 10_000)
    assert read(stream).value == b"x" * 10_000
    stream.close()
    harness.assert_clean()


def test_unread_pieces_of_two_bytes_use_little_more_memory_than_their_bytes() -> None:
    """Each piece is an object with 40 bytes of overhead, which `stream_buffer_bytes` does not count."""
    harness = Harness()
    stream, wire = opened(harness)
    pieces = [b"%02d" % (number % 100) for number in range(30_000)]
    tracemalloc.start()
    try:
        for piece in pieces:
            says(wire, chunk(piece))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 18
    assert read(stream).value == b"".join(pieces)
    stream.close()
    harness.assert_clean()


def test_events_and_lines_are_parsed() -> None:
    harness = Harness()
    stream, wire = opened(harness)

    async def events() -> list[Any]:
        return [(event.event, event.data) async for event in stream.events()]

    result = collected(events())
    for byte in "data: né\r\n\r\nevent: end\rdata: a\ndata: b\n\n: comment\n".encode():
        says(wire, chunk(bytes([byte])))
    says(wire, END)
    assert result.value == [("message", "né"), ("end", "a\nb")]
    harness.assert_clean()


@pytest.mark.parametrize("end", ["read", "cancelled"])
def test_a_reader_of_a_bomb_lets_the_reactor_go_on(end: str) -> None:
    """16 kB expand to 16 MiB, and the reader pauses after each 64 KiB. A cancel during a pause closes the stream."""
    harness = Harness()
    opening = Result(harness.client.stream(b"hello").open())
    wire = harness.accept()
    says(wire, HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
    says(wire, chunk(gzip.compress(bytes(1 << 24))) + END)
    reading = collected(opening.value.read())
    assert not reading.fired
    assert any(timer.getTime() == 0.0 for timer in harness.reactor.getDelayedCalls())
    if end == "cancelled":
        reading.deferred.cancel()
        assert isinstance(reading.error, CancelledError)
    else:
        harness.reactor.advance(0.0)
        assert reading.value == bytes(1 << 24)
    harness.assert_clean()


@pytest.mark.parametrize(("kind", "count"), [("events", 150_000), ("lines", 300_000)])
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_reader_of_a_large_piece_lets_the_reactor_go_on(coding: str, kind: str, count: int) -> None:
    """A megabyte of short events took 0.4 s. An error response is one piece, and a compressed piece is expanded."""
    harness = Harness()
    events = b"data:\n\n" * 150_000
    fields = (b"Content-Encoding: gzip",) if coding else ()
    opening = Result(harness.client.stream(b"hello", any_status=True).open())
    says(harness.accept(), response(400, gzip.compress(events) if coding else events, *fields))
    found: list[object] = []

    async def read() -> None:
        async for one in getattr(opening.value, kind)():
            found.append(one)  # noqa: PERF401  the number is checked during the iteration

    reading = collected(read())
    assert not reading.fired
    assert len(found) < count / 3
    harness.reactor.advance(0.0)
    assert reading.value is None
    assert len(found) == count
    harness.assert_clean()


def test_a_compressed_stream_is_decompressed_piece_by_piece() -> None:
    harness = Harness()
    result = Result(harness.client.stream(b"hello").open())
    wire = harness.accept()
    says(wire, HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
    packed = gzip.compress(b"hello world" * 100)
    whole = collected(result.value.read())
    for at in range(0, len(packed), 7):
        says(wire, chunk(packed[at : at + 7]))
    says(wire, END)
    assert whole.value == b"hello world" * 100
    harness.assert_clean()


def test_a_call_whose_response_is_arriving_is_not_hedged() -> None:
    """The response takes 4 s: one byte arrives every 0.4 s."""
    harness = Harness(3, timeout_s=5.0)
    for _ in range(80):
        quick = harness.call()
        if harness.reactor.dials:
            harness.accept()
        says(harness.busy, response())
        assert quick.fired
    slow = harness.call()
    wire = harness.busy
    says(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    for _ in range(10):
        harness.reactor.advance(0.4)
        assert not harness.reactor.dials
        says(wire, b"x")
    assert str(slow.value) == "x" * 10
    assert harness.client.counters.hedges == 0
    harness.assert_clean()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_every_method_is_sent_and_every_status_returned(method: str) -> None:
    harness = Harness()
    result = Result(harness.client.request(method, "v1/models"))
    wire = harness.accept()
    assert wire.take().startswith(method.encode() + b" /api/predict/svc/v1/models HTTP/1.1\r\n")
    if method == "HEAD":
        says(wire, b"HTTP/1.1 404 X\r\nContent-Length: 7\r\n\r\n")
        assert (result.value.status, result.value.content) == (404, b"")
    else:
        says(wire, response(404, b"nothing"))
        assert (result.value.status, result.value.text()) == (404, "nothing")
    with pytest.raises(StatusError):
        result.value.raise_for_status()
    assert harness.client.counters.answered == 1
    harness.assert_clean()


def test_a_head_request_leaves_its_connection_usable() -> None:
    harness = Harness(1)
    first = Result(harness.client.request("HEAD"))
    wire = harness.accept()
    says(wire, b"HTTP/1.1 200 X\r\nContent-Length: 7\r\n\r\n")
    assert first.value.status == 200
    second = Result(harness.client.request("GET", "x"))
    says(wire, response(200, b"[1]"))
    assert second.value.json() == [1]
    harness.assert_clean()


@pytest.mark.parametrize("fields", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("how", ["request", "stream"])
def test_a_response_with_status_205_ends_at_its_head(how: str, fields: bytes) -> None:
    """RFC 9110 §15.3.6: it has no content. Without a length, a call waited until its deadline."""
    harness = Harness(1)
    client = harness.client
    result = Result(client.request("POST", "x") if how == "request" else client.stream(b"").open())
    wire = harness.accept()
    says(wire, b"HTTP/1.1 205 X\r\n" + fields + b"\r\n")
    assert result.value.status == 205
    assert (result.value.content if how == "request" else read(result.value).value) == b""
    assert not wire.is_open
    harness.assert_clean()


def test_a_response_with_status_205_and_length_0_leaves_its_connection_usable() -> None:
    harness = Harness(1)
    first = Result(harness.client.request("POST", "x"))
    wire = harness.accept()
    says(wire, b"HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n")
    assert (first.value.status, wire.is_open) == (205, True)
    harness.assert_clean()


@pytest.mark.parametrize("status", [201, 202, 204, 299])
def test_each_2xx_status_is_a_response_of_predict(status: int) -> None:
    harness = Harness()
    result = harness.call()
    body = b"" if status == 204 else b"ok"
    says(harness.accept(), response(status, body))
    assert result.value.content == body
    harness.assert_clean()


def test_an_invalid_method_is_refused() -> None:
    harness = Harness()
    for method in ("", "GET /", "connect", 7):
        assert isinstance(Result(harness.client.request(method)).error, ConfigError)  # type: ignore[arg-type]
    harness.assert_clean()


def test_a_head_request_is_a_stream_without_a_body() -> None:
    harness = Harness(1)
    result = Result(harness.client.stream(method="HEAD").open())
    wire = harness.accept()
    says(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
    assert read(result.value).value == b""
    assert wire.is_open
    harness.assert_clean()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 304 X\r\n\r\n"])
def test_a_head_request_keeps_its_connection_whatever_its_head_says(head: bytes) -> None:
    harness = Harness(1)
    result = Result(harness.client.request("HEAD"))
    wire = harness.accept()
    says(wire, head)
    assert result.value.content == b""
    assert wire.is_open
    harness.assert_clean()


def test_a_content_coding_that_is_not_known_closes_the_stream() -> None:
    harness = Harness()
    result = Result(harness.client.stream(b"hello").open())
    wire = harness.accept()
    says(wire, HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n"))
    reading = collected(result.value.read())
    assert isinstance(reading.error, BodyError)
    assert not wire.is_open
    harness.assert_clean()


@pytest.mark.parametrize("is_with", [True, False])
def test_a_task_that_is_cancelled_while_its_stream_opens_leaves_nothing_open(*, is_with: bool) -> None:
    harness = Harness()

    class Cancelled:
        """Awaits a Deferred, and is cancelled when the Deferred has fired."""

        def __init__(self, deferred: Deferred[Any]) -> None:
            self.deferred = deferred

        def __await__(self) -> Any:
            yield from self.deferred.__await__()
            raise GeneratorExit

    async def open_it() -> None:
        opening = OpeningStream(harness.client.stream(b"hello").open, Cancelled)
        if is_with:
            async with opening:
                raise AssertionError("it was opened")
        await opening

    task = open_it()
    waiting = task.send(None)
    waiting.addBoth(lambda _: None)
    wire = harness.accept()
    says(wire, HEAD)
    with pytest.raises(GeneratorExit):
        task.send(None)
    assert not wire.is_open
    harness.assert_clean()


@pytest.mark.parametrize(
    "path", ["eas_tw.net.upstream.Upstream.began_to_answer", "eas_tw.net.upstream.Upstream.record"]
)
def test_a_stream_is_recorded_once_if_its_begin_or_end_raises(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fleet counts the streams in flight by recorded begins and ends, so each must be recorded exactly once."""
    harness = Harness(2, max_in_flight_per_instance=1)
    heard: list[Any] = []
    harness.client.listen(heard.append)
    trap = Trap(monkeypatch, path)
    result = Result(harness.client.stream(b"hello").open())
    wire = harness.accept()
    trap.arm(RuntimeError("planted"), is_after=True)
    says(wire, HEAD)
    if path.endswith("record"):
        says(wire, END)
    assert trap.sprung
    assert result.fired
    assert [type(event).__name__ for event in heard].count("CallEnded") == 1
    harness.reactor.advance(0.0)
    assert harness.client._runtime.fleet._cluster._in_flight.total == 0  # type: ignore[union-attr]
    harness.assert_clean()


def test_the_length_of_a_stream_is_no_latency_of_its_instance() -> None:
    """After a stream of one minute, its instance has no call in flight and a load score near 0."""
    harness = Harness(2, balancer="p2c", outlier_latency_ratio=3.0)
    stream, wire = opened(harness)
    for _ in range(6):
        harness.reactor.advance(10.0)
        says(wire, chunk(b"x"))
    says(wire, END)
    assert collected(stream.read()).value == b"xxxxxx"
    key, now = stream.instance.key, harness.reactor.seconds()
    loads = harness.client._runtime.fleet._cluster._balancer.loads
    assert loads._loads[key].in_flight == 0
    assert loads.score(key, now) < 0.001
    harness.assert_clean()
