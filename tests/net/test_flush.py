"""Requests are written at the end of a reactor iteration.

The tests use real sockets, and a reactor that the test runs step by step.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from eas_tw.net.flush import Flusher
from eas_tw.net.readable import input_probe
from eas_tw.policy.outcomes import AttemptStatus
from tests.net.line import LARGE, OK, Line


def test_requests_are_written_at_the_end_of_the_reactor_iteration(line: Line) -> None:
    line.ask(b"body")
    assert line.arrived() == b""
    line.reactor.advance(0)
    assert line.arrived() == b"HEADbody"
    assert line.reactor.writers == []
    line.far.send(OK)
    line.read()
    assert line.events == ["free", (200, b"hi")]


def test_all_connections_share_one_delayed_call() -> None:
    class Witness:
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

        def abort(self) -> None:
            raise AssertionError("nothing is wrong with it")

    clock, witness = Clock(), Witness()
    flusher = Flusher(clock)
    flusher.soon(witness)
    flusher.soon(witness)
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(0)
    assert witness.flushed == 2
    assert clock.getDelayedCalls() == []


def test_a_writer_that_raises_does_not_stop_the_others(logged: list[str]) -> None:

    class Witness:
        flushed = aborted = 0

        def __init__(self, error: Exception | None = None) -> None:
            self.error = error

        def flush(self) -> None:
            self.flushed += 1
            if self.error is not None:
                raise self.error

        def abort(self) -> None:
            self.aborted += 1

    clock = Clock()
    broken, whole = Witness(ValueError("planted")), Witness()
    flusher = Flusher(clock)
    for writer in (broken, whole):
        flusher.soon(writer)
    clock.pump([0, 0])
    assert (broken.flushed, broken.aborted) == (1, 1)
    assert (whole.flushed, whole.aborted) == (1, 0)
    assert logged == ["ValueError"]


def test_bytes_that_do_not_fit_into_the_socket_are_written_by_the_transport(line: Line) -> None:
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    line.ask(b"a" * LARGE)
    line.reactor.advance(0)
    assert line.reactor.writers == [line.transport]
    came = line.drain()
    assert came == b"HEAD" + b"a" * LARGE
    line.far.send(OK)
    line.read()
    assert line.events == ["free", (200, b"hi")]
    line.ask(b"b")
    line.reactor.advance(0)
    assert (line.arrived(), line.reactor.writers) == (b"HEADb", [])


@pytest.mark.parametrize("size", [0, 1, 2**16, 2**16 + 1, 2**17, 500_000])
@pytest.mark.parametrize("head", [4, 2**16 + 5])
def test_requests_of_every_size_arrive_whole(line: Line, head: int, size: int) -> None:
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    request, body = b"h" * head, bytes(range(256)) * (size // 256) + b"e" * (size % 256)
    line.connection.send(request, body, line)
    line.reactor.advance(0)
    assert line.drain() == request + body
    line.far.send(OK)
    line.read()
    assert line.events == ["free", (200, b"hi")]


def test_a_large_body_is_not_copied_to_the_buffer_of_the_transport(line: Line) -> None:
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    line.ask(b"a" * 10 * LARGE)
    line.reactor.advance(0)
    came = b""
    while line.reactor.writers:
        came += line.arrived()
        line.transport.doWrite()
        assert (line.transport.dataBuffer, line.transport._tempDataBuffer) == (b"", [])
    assert came + line.arrived() == b"HEAD" + b"a" * 10 * LARGE


def test_a_reset_while_a_large_body_is_written_is_reported_by_the_transport(line: Line) -> None:
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    line.ask(b"a" * 10 * LARGE)
    line.reactor.advance(0)
    line.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.far.close()
    line.connection.resumeProducing()
    assert line.connection.is_writing
    error = line.transport.doWrite()
    assert isinstance(error, ConnectionLost)
    line.transport.connectionLost(Failure(error))
    assert line.events == ["gone", AttemptStatus.LOST]


@pytest.mark.parametrize("size", [LARGE, 10 * LARGE])
def test_a_response_before_the_request_is_written_closes_the_connection(line: Line, size: int) -> None:
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    line.ask(b"a" * size)
    line.reactor.advance(0)
    line.far.send(OK)
    line.read()
    line.reactor.advance(0)
    assert line.events == [(200, b"hi"), "gone"]


SURPRISES = {
    "a response": lambda far: far.send(OK),
    "a byte": lambda far: far.send(b"H"),
    "a close": lambda far: far.shutdown(socket.SHUT_WR),
    "a response and a close": lambda far: (far.send(OK), far.shutdown(socket.SHUT_WR)),
    "a reset": lambda far: (far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)), far.close()),
}


@pytest.mark.parametrize("body", [b"", b"x" * 10 * LARGE], ids=["small", "large"])
@pytest.mark.parametrize("moment", ["before it is given a request", "before the request leaves"])
@pytest.mark.parametrize("surprise", SURPRISES.values(), ids=SURPRISES.keys())
def test_bytes_between_two_requests_are_not_a_response(line: Line, surprise: Any, moment: str, body: bytes) -> None:
    line.served()
    if moment == "before it is given a request":
        surprise(line.far)
        line.ask(body)
    else:
        line.ask(body)
        surprise(line.far)
    line.reactor.advance(0)
    assert line.events == ["gone", AttemptStatus.UNSENT]
    assert b"HEAD" not in line.arrived()


@pytest.mark.parametrize("surprise", SURPRISES.values(), ids=SURPRISES.keys())
def test_a_connection_is_checked_before_its_first_use(line: Line, surprise: Any) -> None:
    line.connection.idle_since = 0.0
    surprise(line.far)
    line.ask()
    line.reactor.advance(0)
    assert line.events == ["gone", AttemptStatus.UNSENT]
    assert b"HEAD" not in line.arrived()


def test_a_new_connection_that_speaks_first_is_a_failed_connect(line: Line) -> None:
    line.far.send(b"SSH-2.0-OpenSSH")
    line.ask()
    line.reactor.advance(0)
    assert line.events == ["gone", AttemptStatus.CONNECT_FAILED]


def test_an_aborted_connection_takes_no_request(line: Line) -> None:
    """Twisted calls `connectionLost` one reactor iteration after an abort. A request in between is not written."""
    line.served()
    line.far.send(OK)
    line.read()
    line.ask()
    line.connection.flush()
    assert line.arrived() == b""
    line.reactor.advance(0)
    assert line.events == ["gone", AttemptStatus.UNSENT]


def test_the_input_probe_calls_only_recv() -> None:
    class Handle:
        answers: list[Any]

        def recv(self, size: int, flags: int) -> bytes:
            assert (size, flags) == (1, socket.MSG_PEEK)
            answer = self.answers.pop()
            if isinstance(answer, OSError):
                raise answer
            return bytes(answer)

    handle = Handle()
    handle.answers = [ConnectionResetError(), b"", b"x", BlockingIOError()]
    look = input_probe(handle)
    assert [bool(look()) for _ in range(4)] == [False, True, True, True]


def test_a_request_is_unsent_if_the_first_send_fails(line: Line) -> None:
    """`send` fails before the socket has accepted a byte."""
    line.served()
    line.ask(b"body")
    line.near.shutdown(socket.SHUT_WR)
    line.reactor.advance(0)
    assert line.events == ["gone", AttemptStatus.UNSENT]


def test_the_transport_waits_for_a_full_socket(line: Line) -> None:
    line.served()
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += line.near.send(b"f" * LARGE)
    line.ask(b"body")
    line.reactor.advance(0)
    assert line.drain() == b"f" * filled + b"HEADbody"
    line.far.send(OK)
    line.read()
    assert line.events == ["free", (200, b"hi")]


def test_an_abandoned_request_is_not_written(line: Line) -> None:
    line.ask(b"body")
    line.connection.abandon()
    line.reactor.advance(0)
    assert line.arrived() == b""
    assert line.events == ["gone"]


def test_an_unsolicited_response_makes_the_next_request_unsent(line: Line) -> None:
    """The server sends status 408 after a request is dispatched and before this request is written."""
    line.ask()
    line.reactor.advance(0)
    line.far.send(OK)
    line.read()
    line.arrived()
    line.events.clear()
    line.ask(b"second")
    line.far.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    line.read()
    line.reactor.advance(0)
    assert line.arrived() == b""
    assert line.events == ["gone", AttemptStatus.UNSENT]
