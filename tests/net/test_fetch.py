"""The HTTP request to the control plane: what is sent, which replies are accepted, and how it fails."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.error import ConnectBindError, TimeoutError  # noqa: A004

from eas_tw import ClientConfig
from eas_tw.net.fetch import DirectFetcher
from eas_tw.policy.instances import BadStatusError, RejectReason
from tests.net.calling import Result, response, says
from tests.net.fleet import PuppetReactor

if TYPE_CHECKING:
    from tests.net.wire import Wire

URL = "http://10.0.0.1:8080/lists/svc?internal=true"


class Harness:
    """A fetcher whose connections are in memory."""

    def __init__(self, **settings: Any) -> None:
        self.reactor = PuppetReactor()
        self.fetcher = DirectFetcher(self.reactor, ClientConfig(**settings))  # type: ignore[arg-type]

    def get(self, url: str = URL) -> Result:
        return Result(self.fetcher.get(url))

    def accept(self) -> Wire:
        """Accept the connection, and process the write of the request."""
        (dial,) = self.reactor.dials
        wire = dial.accept()
        self.reactor.advance(0)
        return wire

    def assert_nothing_left(self) -> None:
        assert not self.reactor.dials
        assert not [wire for wire in self.reactor.wires if wire.is_open]
        assert not self.reactor.getDelayedCalls()
        assert Result(self.fetcher.close()).fired == [None]


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_a_fetch_is_a_get_on_a_new_connection(harness: Harness) -> None:
    result = harness.get()
    (dial,) = harness.reactor.dials
    assert dial.address == ("10.0.0.1", 8080)
    wire = harness.accept()
    assert wire.take() == (
        b"GET /lists/svc?internal=true HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n"
        b"Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )
    says(wire, response(200, b"[]"))
    assert result.value == b"[]"
    harness.assert_nothing_left()


def test_the_default_port_is_80(harness: Harness) -> None:
    harness.get("http://10.0.0.1/list")
    (dial,) = harness.reactor.dials
    assert dial.address == ("10.0.0.1", 80)
    assert b"\r\nHost: 10.0.0.1\r\n" in harness.accept().take()


def test_characters_that_are_invalid_in_a_url_are_encoded(harness: Harness) -> None:
    harness.get("http://10.0.0.1/lists/模型")
    assert harness.accept().take().startswith(b"GET /lists/%E6%A8%A1%E5%9E%8B HTTP/1.1\r\n")


def test_a_lack_of_local_resources_is_named(harness: Harness) -> None:
    result = harness.get()
    (dial,) = harness.reactor.dials
    dial.fail(ConnectBindError(errno.EMFILE, "Too many open files"))
    assert result.error.reason is RejectReason.CONNECTION
    assert str(result.error) == "no reply: no file descriptor is left in this process: EMFILE"
    harness.assert_nothing_left()


@pytest.mark.parametrize("url", ["http://10.0.0.1:port/", "http://模型/", "http://[10/"])
def test_an_invalid_url_is_a_rejection(harness: Harness, url: str) -> None:
    assert harness.get(url).error.reason is RejectReason.CONNECTION
    harness.assert_nothing_left()


def test_a_document_may_come_in_chunks_or_until_the_close(harness: Harness) -> None:
    chunked = harness.get()
    says(harness.accept(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n")
    until_close = harness.get()
    wire = harness.accept()
    says(wire, b"HTTP/1.0 200 OK\r\n\r\n[]")
    wire.lose()
    assert (chunked.value, until_close.value) == (b"[]", b"[]")
    harness.assert_nothing_left()


@pytest.mark.parametrize("status", [204, 301, 404, 500])
def test_a_status_other_than_200_is_a_rejection_with_that_status(harness: Harness, status: int) -> None:
    result = harness.get()
    says(harness.accept(), response(status, b"", b"Location: http://10.0.0.9/"))
    assert isinstance(result.error, BadStatusError)
    assert result.error.status == status
    harness.assert_nothing_left()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", RejectReason.VIOLATION),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, RejectReason.VIOLATION),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000, RejectReason.VIOLATION),
        (b"SSH-2.0-OpenSSH_9.2\r\n", RejectReason.VIOLATION),
    ],
    ids=["announced", "endless", "head", "foreign"],
)
def test_too_much_or_not_http_is_a_violation(said: bytes, reason: RejectReason) -> None:
    harness = Harness(max_discovery_bytes=100)
    result = harness.get()
    wire = harness.accept()
    says(wire, said)
    assert result.error.reason is reason
    assert wire.aborted
    harness.assert_nothing_left()


def test_a_connection_that_fails_is_a_rejection(harness: Harness) -> None:
    refused = harness.get()
    harness.reactor.dials[0].fail()
    assert refused.error.reason is RejectReason.CONNECTION
    late = harness.get()
    harness.reactor.dials[0].fail(TimeoutError())
    assert late.error.reason is RejectReason.TIMEOUT
    for said in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n["):
        lost = harness.get()
        wire = harness.accept()
        if said:
            says(wire, said)
        wire.lose()
        assert lost.error.reason is RejectReason.CONNECTION
    harness.assert_nothing_left()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://10.0.0.1:many/list", "Port could not be cast"),
        ("http://[::1/list", "Invalid IPv6 URL"),
        ("http://höst/list", "codec can't encode"),
        ("ftp://10.0.0.1/list", "its scheme is neither http nor https"),
        ("ftp://10.0.0.1:80/list", "its scheme is neither http nor https"),
        ("10.0.0.1/list", "its scheme is neither http nor https"),
        ("http:///list", "it has no host"),
        ("http://:80/list", "it has no host"),
    ],
)
def test_text_that_is_no_url_is_a_rejection(harness: Harness, url: str, says: str) -> None:
    """Servers are named by an address server, so their addresses may be any text."""
    error = harness.get(url).error
    assert error.reason is RejectReason.CONNECTION
    assert f"no reply: {url!r} is no URL of a document: " in str(error)
    assert says in str(error)
    harness.assert_nothing_left()


@pytest.mark.parametrize("heard", ["nothing", "connected", "half"])
def test_a_fetch_ends_by_its_timeout_at_any_stage(heard: str) -> None:
    harness = Harness(discovery_timeout_s=2.0)
    result = harness.get()
    if heard != "nothing":
        wire = harness.accept()
    if heard == "half":
        says(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[")
    harness.reactor.advance(1.9)
    assert not result.fired
    harness.reactor.advance(0.1)
    assert result.error.reason is RejectReason.TIMEOUT
    harness.assert_nothing_left()


@pytest.mark.parametrize("connected", [False, True])
def test_cancelling_leaves_no_timer_connection_or_error(harness: Harness, connected: bool) -> None:  # noqa: FBT001
    result = harness.get()
    if connected:
        harness.accept()
    result.deferred.cancel()
    assert result.error.reason is RejectReason.CONNECTION
    harness.assert_nothing_left()


def test_close_waits_for_the_last_socket(harness: Harness) -> None:
    harness.get()
    wire = harness.accept()
    closed = Result(harness.fetcher.close())
    assert wire.aborted
    assert closed.fired == [None]
