"""Large bodies of known length are received directly into the memory of the result.

The tests use real sockets, and a reactor that the test runs step by step.
"""

from __future__ import annotations

import gc
import socket
import struct
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure

from eas_tw.net import direct_body
from eas_tw.net.direct_body import LEAST_BYTES
from eas_tw.policy.outcomes import AttemptStatus
from tests.net.line import OK, Line

SIZE = 3 * LEAST_BYTES
BODY = bytes(range(256)) * (SIZE // 256)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE


class LargeLine(Line):
    """A connection with a request in flight, and the sizes of the pieces that it has parsed."""

    def __init__(self) -> None:
        super().__init__(SIZE)
        self.parsed: list[int] = []
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * SIZE)
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * SIZE)
        received = self.connection.dataReceived

        def counted(data: bytes) -> None:
            self.parsed.append(len(data))
            received(data)

        self.connection.dataReceived = counted  # type: ignore[method-assign]
        self.ask()
        self.reactor.advance(0)

    def says(self, data: bytes) -> None:
        """Send from the far end, and read all of it at the near end."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.far.send(rest) :]
            self.read()
        for _ in range(20):
            if self.transport.connected and not self.transport.disconnecting:
                self.read()


@pytest.fixture
def large() -> Iterator[LargeLine]:
    line = LargeLine()
    yield line
    line.close()


def test_the_rest_of_a_large_body_is_neither_read_by_the_transport_nor_parsed(large: LargeLine) -> None:
    large.says(HEAD + BODY[:10])
    large.says(BODY[10:])
    assert large.events == ["free", (200, BODY)]
    assert large.parsed == [len(HEAD) + 10]


def test_the_connection_is_used_again_after_a_large_body(large: LargeLine) -> None:
    for response, body in [(HEAD, BODY), (OK, b"hi"), (HEAD, BODY)]:
        large.says(response)
        if body is BODY:
            large.says(body)
        assert large.events == ["free", (200, body)]
        large.events.clear()
        large.ask()
        large.reactor.advance(0)


@pytest.mark.parametrize("missing", [1, LEAST_BYTES - 1])
def test_a_small_rest_is_parsed(large: LargeLine, missing: int) -> None:
    small = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % missing + bytes(missing)
    large.says(small)
    assert large.events == ["free", (200, bytes(missing))]
    assert sum(large.parsed) == len(small)


def test_a_body_above_the_bound_is_parsed(large: LargeLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory would be reserved before it has arrived."""
    monkeypatch.setattr(direct_body, "_MOST_BYTES", SIZE - 1)
    large.says(HEAD + BODY)
    assert large.events == ["free", (200, BODY)]
    assert sum(large.parsed) == len(HEAD) + SIZE


def test_a_body_is_parsed_if_there_is_no_memory_to_reserve(large: LargeLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("eas_tw.net.http1.DirectBody", no_memory)
    large.says(HEAD + BODY)
    assert large.events == ["free", (200, BODY)]


def test_a_response_with_connection_close_closes_the_connection_after_its_body(large: LargeLine) -> None:
    large.says(HEAD[:-2] + b"Connection: close\r\n\r\n")
    large.says(BODY)
    assert large.events == [(200, BODY)]
    assert large.transport.disconnecting


def test_bytes_after_the_body_are_not_the_response_to_the_next_request(large: LargeLine) -> None:
    large.says(HEAD)
    large.says(BODY[:-1])
    large.far.sendall(BODY[-1:] + OK)
    large.read()
    assert large.events == ["free", (200, BODY)]
    large.events.clear()
    large.ask()
    large.reactor.advance(0)
    large.reactor.advance(0)
    assert large.events == ["gone", AttemptStatus.UNSENT]


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_connection_that_is_lost_within_the_body_truncates_the_response(large: LargeLine, is_reset: bool) -> None:  # noqa: FBT001
    large.says(HEAD)
    large.says(BODY[:1000])
    large.arrived()  # a close with unread bytes would be a reset
    if is_reset:
        large.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    large.far.close()
    why = large.transport.doRead()
    assert why is (CONNECTION_LOST if is_reset else CONNECTION_DONE)
    large.transport.connectionLost(Failure(ConnectionLost() if is_reset else ConnectionDone()))
    assert large.events == ["gone", AttemptStatus.RESPONSE_TRUNCATED]


def test_the_time_of_each_piece_is_recorded(large: LargeLine) -> None:
    """A response whose bytes keep arriving is not late."""
    large.says(HEAD)
    large.reactor.advance(5.0)
    large.says(BODY[:10])
    assert large.connection.heard_at == 5.0


def test_an_abandoned_body_is_not_read_and_is_freed(large: LargeLine) -> None:
    large.says(HEAD)
    large.says(BODY[:10])
    body: Any = large.connection._direct
    freed = weakref.ref(body)
    del body
    gc.disable()
    try:
        large.connection.abandon()
        large.far.sendall(BODY[10:1000])
        assert large.transport.doRead() is None
        large.reactor.advance(0)
        assert large.events == ["gone"]
        assert freed() is None
    finally:
        gc.enable()
