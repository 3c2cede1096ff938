"""Streams from simulated instances with faults: the bytes and errors of the reader, and the client's counters."""

from __future__ import annotations

from socket import SHUT_WR
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from eas_tw import StatusError
from eas_tw.errors import StreamBroken
from simulator import Fault, Target
from simulator.processors import echo
from simulator.processors.requests import RequestProcessor
from simulator.streaming import StreamResponse
from simulator.virtual.stream_service import TINY_CHUNKS, StreamService, StreamSpec, content
from tests.simulation.harness import CLIENT, Harness

CALL = "0.1"
SLOW = StreamSpec("chunked", 1_000, 50, 100)
"""A body of 1,000 bytes that is sent in two seconds."""


class Story:
    """A client, a fleet whose instances send streams, and the specification of one stream."""

    def __init__(self, spec: StreamSpec, **settings: Any) -> None:
        self.spec = spec
        self.begun: list[tuple[str, int]] = []
        service = StreamService(echo, lambda _, instance, serial: self.begun.append((instance, serial)))
        self.harness = Harness(processor=service, **settings).init()

    def fault(self, type_: str, **attributes: Any) -> None:
        self.harness.world.faults.add(Fault(type_, target=Target("echo"), attributes=attributes))

    def open(self, **options: Any) -> Any:
        """Open a stream, wait for its head, and return the stream."""
        return self.harness.run(self.harness.client.stream(self.spec.body_of(CALL), **options).open())

    def begin(self, reading: Any) -> list[Any]:
        """Start a coroutine; return a list to which its result or failure is appended."""
        found: list[Any] = []
        Deferred.fromCoroutine(reading).addBoth(found.append)
        return found

    @property
    def whole(self) -> bytes:
        """The complete body of the response that began last."""
        return content(CALL, *self.begun[-1], self.spec)

    @property
    def connections(self) -> int:
        """The number of the client's open connections to instances."""
        return sum(socket.here[0] == CLIENT for socket in self.harness.network.transports)

    def assert_over(self) -> None:
        """Check that no call is in flight, that a call succeeds, and that nothing is left after the close."""
        calls = self.harness.client._runtime.call_context
        assert not calls.streams
        assert not calls.in_flight
        self.harness.heal()
        self.harness.wait(40.0)
        assert self.harness.call().startswith("call")
        self.harness.assert_clean()


class Large(RequestProcessor):
    """Sends a stream of 8 MB as fast as the client reads it."""

    def answer(self, request: Any) -> StreamResponse:
        return StreamResponse(bytes(20_000) for _ in range(400))


async def collected(stream: Any, got: list[bytes]) -> None:
    async with stream:
        async for piece in stream:
            got += [piece]


@pytest.mark.parametrize("form", ["chunked", "length", "events", "gzip"])
def test_a_stream_is_read_as_it_is_sent_and_its_connection_is_kept(form: str) -> None:
    story = Story(StreamSpec(form, 1_000, 50, 100))
    stream = story.open()
    if form == "events":

        async def read() -> bytes:
            return "".join([event.data async for event in stream.events()]).encode()

        assert story.harness.run(read()) == story.whole
    else:
        assert story.harness.run(stream.read()) == story.whole
    assert story.connections == 1
    assert story.harness.client.counters.streams_broken == {}
    story.assert_over()


@pytest.mark.parametrize("form", ["chunked", "length"])
def test_the_first_piece_is_read_at_the_time_it_is_sent(form: str) -> None:
    """The head arrives within 5 ms and the first piece 0.1 s later, although the whole body takes two seconds."""
    story = Story(StreamSpec(form, 1_000, 50, 100))
    began = story.harness.scheduler.elapsed()
    stream = story.open()
    head_s = story.harness.scheduler.elapsed() - began
    assert head_s < 0.005
    assert len(story.harness.run(stream.next_piece())) == 50
    assert story.harness.scheduler.elapsed() - began == pytest.approx(0.1 + head_s, abs=0.001)
    stream.close()
    story.assert_over()


def test_a_crash_before_the_head_does_not_break_the_stream() -> None:
    story = Story(SLOW, attempts=3)
    for number in (0, 1):
        story.harness.instance(number).hang()
    opening = story.harness.client.stream(story.spec.body_of(CALL)).open()
    story.harness.wait(0.05)
    for number in (0, 1):
        story.harness.instance(number).crash()
    stream = story.harness.run(opening)
    assert story.harness.run(stream.read()) == story.whole
    assert len(story.begun) == 1
    assert story.harness.client.counters.streams_broken == {}
    story.assert_over()


def test_a_crash_after_a_hundred_bytes_breaks_the_stream() -> None:
    """The request is not sent again, because the reader may have used these bytes."""
    story = Story(SLOW)
    stream = story.open()
    got: list[bytes] = []
    ended = story.begin(collected(stream, got))
    while sum(map(len, got)) < 100:
        story.harness.wait(0.01)
    story.harness.world.instance(story.begun[0][0]).crash()
    story.harness.wait(1.0)
    (failure,) = ended
    error = failure.value
    assert isinstance(error, StreamBroken)
    assert (error.received_bytes, len(error.attempts)) == (100, 1)
    assert error.attempts[0].instance.key == stream.instance.key
    assert story.whole.startswith(b"".join(got))
    assert len(story.begun) == 1
    assert story.harness.client.counters.streams_broken == {"cut": 1}
    assert story.connections == 0
    story.assert_over()


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_the_reader_of_a_cut_stream_gets_the_received_bytes_and_then_an_error(how: str) -> None:
    story = Story(SLOW)
    story.fault("cut_stream", after_bytes=120, reset=how == "RST")
    got: list[bytes] = []
    with pytest.raises(StreamBroken):
        story.harness.run(collected(story.open(), got))
    assert b"".join(got) == story.whole[:120]
    assert story.connections == 0
    story.assert_over()


def test_a_stall_ends_by_the_idle_limit_and_not_before() -> None:
    story = Story(SLOW)
    story.fault("stall_stream", after_bytes=300, duration=0)
    stream = story.open(idle_timeout_s=2.0)
    got: list[bytes] = []
    ended = story.begin(collected(stream, got))
    while sum(map(len, got)) < 300:
        story.harness.wait(0.01)
    story.harness.wait(1.95)
    assert not ended
    story.harness.wait(0.1)
    assert isinstance(ended[0].value, StreamBroken)
    assert story.harness.client.counters.streams_broken == {"late": 1}
    story.harness.wait(0.1)
    assert story.connections == 0
    story.assert_over()


def test_a_stall_shorter_than_the_idle_limit_breaks_nothing() -> None:
    story = Story(SLOW)
    story.fault("stall_stream", after_bytes=300, duration=1500)
    assert story.harness.run(story.open(idle_timeout_s=2.0).read()) == story.whole
    story.assert_over()


def test_a_slow_reader_makes_the_instance_wait() -> None:
    """The client buffers at most `stream_buffer_bytes` and one read of a body of 8 MB; the instance has to wait."""
    harness = Harness(processor=Large(), stream_buffer_bytes=10_000).init()
    stream = harness.run(harness.client.stream(b"all of it", idle_timeout_s=1.0).open())
    harness.wait(20.0)
    assert 10_000 < stream.received_bytes <= 10_000 + 65_536
    (running,) = [running for at in range(3) for running in harness.instance(at).streams]
    assert running.bytes_out < 2_000_000
    assert harness.run(stream.read()) == bytes(8_000_000)
    assert running.bytes_out == 8_000_000
    harness.assert_clean()


def test_an_instance_that_half_closes_inside_a_body_breaks_the_stream() -> None:
    story = Story(SLOW)
    stream = story.open()
    got: list[bytes] = []
    ended = story.begin(collected(stream, got))
    story.harness.wait(0.55)
    (connection,) = story.harness.world.instance(story.begun[0][0]).server.connections
    connection.transport.socket.shutdown(SHUT_WR)
    story.harness.wait(0.1)
    assert isinstance(ended[0].value, StreamBroken)
    assert b"".join(got) == story.whole[:250]
    assert story.harness.client.counters.streams_broken == {"cut": 1}
    assert story.connections == 0
    story.assert_over()


def test_garbage_inside_the_chunks_breaks_the_stream() -> None:
    """The reader gets the bytes before the garbage."""
    story = Story(SLOW)
    story.fault("garble_stream", after_bytes=150, where="framing")
    got: list[bytes] = []
    with pytest.raises(StreamBroken):
        story.harness.run(collected(story.open(), got))
    assert b"".join(got) == story.whole[:150]
    assert story.harness.client.counters.streams_broken == {"violation": 1}
    story.assert_over()


def test_ten_thousand_chunks_of_one_byte_in_one_segment() -> None:
    """The reader gets all chunks as one piece."""
    story = Story(StreamSpec("tiny"))
    got: list[bytes] = []
    story.harness.run(collected(story.open(), got))
    assert b"".join(got) == story.whole
    assert len(story.whole) > TINY_CHUNKS
    assert len(got) <= 2
    story.assert_over()


def test_a_head_without_a_body_is_not_late() -> None:
    """The call is not hedged while it waits for the body, because the head has arrived immediately."""
    story = Story(SLOW, hedge_after_s=0.05)
    story.fault("slow_first_byte", delay=1000)
    assert story.harness.run(story.open().read()) == story.whole
    assert (len(story.begun), story.harness.client.counters.hedges) == (1, 0)
    story.assert_over()


def test_a_call_is_not_hedged_while_its_response_arrives() -> None:
    """The call is not hedged: its response takes four of five seconds, and the instance sends all the time."""
    story = Story(StreamSpec("chunked", 400, 40, 400), timeout_s=5.0)
    for _ in range(40):
        story.harness.call()
    response = story.harness.run(story.harness.client.predict(story.spec.body_of(CALL)))
    assert response.content == story.whole
    assert (len(story.begun), story.harness.client.counters.hedges) == (1, 0)
    story.assert_over()


def test_an_error_status_fails_the_opening_of_a_stream() -> None:
    story = Story(SLOW)
    story.fault("http_status", code=404)
    with pytest.raises(StatusError):
        story.open()
    story.assert_over()


@pytest.mark.parametrize("drain_s", [1.0, 5.0])
def test_a_client_that_closes_waits_for_its_streams_and_then_breaks_them(drain_s: float) -> None:
    story = Story(SLOW, drain_timeout_s=drain_s)
    stream = story.open()
    got: list[bytes] = []
    ended = story.begin(collected(stream, got))
    began = story.harness.scheduler.elapsed()
    story.harness.run(story.harness.client.close())
    assert story.harness.scheduler.elapsed() - began == pytest.approx(min(drain_s, 2.1), abs=0.01)
    story.harness.wait(0.1)
    if drain_s < 2.0:
        assert isinstance(ended[0].value, StreamBroken)
    else:
        assert ended == [None]
        assert b"".join(got) == story.whole
    assert story.connections == 0
    story.harness.assert_clean()
