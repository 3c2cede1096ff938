"""Responses of an `EasAgent`: header fields, and the delivery of a body to a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.protocol import Protocol
from twisted.web.client import ResponseFailed

from eas_tw import StreamBroken
from eas_tw.agent import EasAgent
from tests.net.calling import Harness, Result, says

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITransport
    from twisted.python.failure import Failure
    from twisted.web.iweb import IResponse

    from tests.net.wire import Wire

HEAD = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nContent-Length: 4\r\n\r\n"


def answered() -> tuple[Harness, IResponse, Wire]:
    """Return a response whose head has arrived, and its transport."""
    harness = Harness()
    asking = Result(EasAgent(harness.client).request(b"GET", b"eas://svc/x"))
    wire = harness.accept()
    says(wire, HEAD)
    return harness, asking.value, wire


class Recording(Protocol):
    """Records what it gets; a subclass acts on the first piece."""

    transport: Any

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.reasons: list[Any] = []
        self.is_inside = False

    def act(self) -> None:
        """Act on a piece."""

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        self.is_inside = True
        try:
            self.act()
        finally:
            self.is_inside = False

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        assert not self.is_inside
        self.reasons.append(reason.value)


class Raising(Recording):
    def act(self) -> None:
        raise LookupError("no such row")


class Pausing(Recording):
    def act(self) -> None:
        self.transport.pauseProducing()


class Closing(Recording):
    def act(self) -> None:
        self.transport.pauseProducing()
        self.transport.loseConnection()


def test_repeated_header_fields_stay_separate() -> None:
    """A client with cookies cannot parse two Set-Cookie fields that are joined by a comma."""
    harness, response, wire = answered()
    assert response.headers.getRawHeaders(b"set-cookie") == [b"a=1; Path=/", b"b=2"]
    wire.lose()
    harness.assert_clean()


def test_a_protocol_that_raises_gets_its_exception_and_the_connection_is_closed() -> None:
    harness, response, wire = answered()
    protocol = Raising()
    response.deliverBody(protocol)
    says(wire, b"1")
    (reason,) = protocol.reasons
    assert isinstance(reason, ResponseFailed)
    assert reason.reasons[0].check(LookupError)
    assert not wire.is_open
    harness.assert_clean()


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection", "stopProducing"])
def test_a_paused_protocol_that_closes_the_connection_gets_its_end(how: str) -> None:
    harness, response, wire = answered()
    protocol = Pausing()
    response.deliverBody(protocol)
    says(wire, b"1")
    assert not protocol.reasons
    transport: ITransport = protocol.transport
    getattr(transport, how)()
    assert_closed(harness, protocol, wire)


def test_a_protocol_that_pauses_and_closes_gets_its_end_after_the_piece() -> None:
    harness, response, wire = answered()
    protocol = Closing()
    response.deliverBody(protocol)
    says(wire, b"1")
    assert_closed(harness, protocol, wire)


def assert_closed(harness: Harness, protocol: Recording, wire: Wire) -> None:
    (reason,) = protocol.reasons
    assert isinstance(reason, ResponseFailed)
    assert reason.reasons[0].check(StreamBroken)
    assert protocol.pieces == [b"1"]
    assert not wire.is_open
    harness.assert_clean()
