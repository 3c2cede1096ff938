"""Calls through a gateway with agents of the program, correct and faulty, and their retries."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError, DNSLookupError  # noqa: A004
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from eas_tw import AttemptStatus, ConnectionFailed, DeadlineExceeded, PredictClient, StatusError, StreamBroken
from eas_tw.config import ClientConfig
from tests.net.calling import Result
from tests.net.fleet import PuppetReactor

if TYPE_CHECKING:
    from collections.abc import Callable


class Response:
    """A response of an agent. `deliverBody` delivers the whole body."""

    def __init__(self, code: int = 200, body: bytes = b"ok", error: Exception | None = None) -> None:
        self.code = code
        self.headers = Headers({"X-A": ["1"]})
        self._body = body
        self._error = error or ResponseDone()

    def deliverBody(self, protocol: Any) -> None:
        protocol.makeConnection(None)
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(self._error))


@implementer(IAgent)
class Puppet:
    """An agent with a given behaviour for each of its first requests. Later requests get a response."""

    def __init__(self, *acts: Callable[[], Any]) -> None:
        self.acts = list(acts)
        self.asked: list[tuple[bytes, Headers]] = []

    def request(self, method: bytes, uri: bytes, headers: Headers, producer: Any) -> Any:
        assert method == b"POST"
        assert producer.length == 1
        self.asked.append((uri, headers))
        return self.acts.pop(0)() if self.acts else succeed(Response())


def raises(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


class Mute(Exception):
    """An exception of a program, whose `__str__` raises."""

    reasons = 5

    def __str__(self) -> str:
        raise RuntimeError("no text")


def bad_canceller() -> Any:
    return Deferred(lambda _: raises(RuntimeError("cannot be cancelled"))())


class Region:
    def __init__(self, *acts: Callable[[], Any], endpoint: str = "http://gateway.example", **settings: Any) -> None:
        self.reactor = PuppetReactor()
        self.agent = Puppet(*acts)
        config = ClientConfig(**{"seed": 1, "timeout_s": 5.0, **settings})
        self.client = PredictClient(endpoint, "svc", agent=self.agent, reactor=self.reactor, config=config)
        Result(self.client.init())
        self.raised: list[BaseException] = []

    def call(self, **options: Any) -> Result:
        call = Result(self.client.predict("x", **options))
        self.advance(0.0)
        return call

    def advance(self, seconds: float) -> None:
        for step in (seconds, 0.0):
            try:
                self.reactor.advance(step)
            except (SystemExit, KeyboardInterrupt) as error:
                self.raised.append(error)

    def assert_clean(self) -> None:
        assert Result(self.client.close()).fired
        assert not self.reactor.getDelayedCalls()


class Endless(Response):
    """A response whose body does not end."""

    is_open = True

    def deliverBody(self, protocol: Any) -> None:
        protocol.makeConnection(self)
        protocol.dataReceived(b"x")

    def abortConnection(self) -> None:
        self.is_open = False


def test_a_response_with_status_205_ends_at_its_head() -> None:
    answer = Endless(205)
    region = Region(lambda: succeed(answer))
    call = region.call()
    assert call.value.content == b""
    assert not answer.is_open
    region.assert_clean()


FAILURES = [
    (lambda: fail(ConnectionRefusedError()), AttemptStatus.CONNECT_REFUSED),
    (raises(ConnectionRefusedError()), AttemptStatus.CONNECT_REFUSED),
    (lambda: fail(DNSLookupError("no such name")), AttemptStatus.CONNECT_FAILED),
    (raises(socket.gaierror("no such name")), AttemptStatus.CONNECT_FAILED),
    (lambda: fail(SchemeNotSupported("https")), AttemptStatus.CONNECT_FAILED),
    (lambda: fail(ResponseNeverReceived([Failure(ConnectionError("reset"))])), AttemptStatus.LOST),
    (lambda: fail(CancelledError()), AttemptStatus.LOST),
    (raises(RuntimeError("the proxy's address is not known")), AttemptStatus.LOST),
    (raises(asyncio.CancelledError()), AttemptStatus.LOST),
    (raises(GeneratorExit()), AttemptStatus.LOST),
    (raises(SystemExit(3)), AttemptStatus.LOST),
    (lambda: None, AttemptStatus.LOST),
    (Response, AttemptStatus.LOST),
    (lambda: succeed(None), AttemptStatus.LOST),
    (lambda: succeed(Response(error=ConnectionError("cut off"))), AttemptStatus.LOST),
    (raises(Mute()), AttemptStatus.LOST),
    (lambda: fail(Mute()), AttemptStatus.LOST),
    (lambda: succeed(Response(error=Mute())), AttemptStatus.LOST),
    (lambda: fail(ResponseNeverReceived([Failure(Mute())])), AttemptStatus.LOST),
]


@pytest.mark.parametrize(("act", "attempt_status"), FAILURES)
def test_each_failure_of_an_agent_is_an_outcome_immediately(
    act: Callable[[], Any], attempt_status: AttemptStatus
) -> None:
    region = Region(act, act, attempts=1)
    call = region.call()
    assert isinstance(call.error, ConnectionFailed)
    assert call.attempt_statuses == [attempt_status]
    assert region.call().attempt_statuses == [attempt_status]
    assert str(region.call().value) == "ok"
    assert [type(error) for error in region.raised] in ([], [SystemExit] * 2)
    region.assert_clean()
    region = Region(act)
    call = region.call()
    region.advance(0.3)
    assert str(call.value) == "ok"
    region.assert_clean()


def test_a_response_of_an_agent_may_be_available_immediately() -> None:
    """The call uses the response and its headers, and does not wait for the deadline."""
    region = Region(lambda: succeed(Response(400, b"bad column")))
    call = region.call()
    assert isinstance(call.error, StatusError)
    assert (call.error.status, call.error.body, call.error.headers) == (400, b"bad column", {"x-a": "1"})
    region.assert_clean()


@pytest.mark.parametrize("error", [RuntimeError("delivered already"), Mute(), SystemExit(3)])
def test_a_stream_breaks_at_once_when_its_body_cannot_be_delivered(error: BaseException) -> None:
    class Undeliverable(Response):
        def deliverBody(self, protocol: Any) -> None:
            raise error

    region = Region(lambda: succeed(Undeliverable()))
    opened = Result(region.client.stream("x").open())
    region.advance(0.0)
    assert isinstance(Result(Deferred.fromCoroutine(opened.value.read())).error, StreamBroken)
    assert [type(raised) for raised in region.raised] == [SystemExit] * isinstance(error, SystemExit)
    assert str(region.call().value) == "ok"
    region.assert_clean()


@pytest.mark.parametrize("act", [Deferred, bad_canceller])
@pytest.mark.parametrize("how", ["deadline", "cancelled", "closed"])
def test_an_agent_that_never_answers(act: Callable[[], Any], how: str) -> None:
    """The call ends even if the agent does not support cancellation."""
    region = Region(act, drain_timeout_s=0.0)
    call = region.call()
    if how == "deadline":
        region.advance(5.0)
        assert isinstance(call.error, DeadlineExceeded)
    elif how == "cancelled":
        call.deferred.cancel()
        assert isinstance(call.error, CancelledError)
    else:
        assert Result(region.client.close()).fired
        assert type(call.error).__name__ == "ClientClosed"
    if how != "closed":
        assert str(region.call().value) == "ok"
    region.assert_clean()


@pytest.mark.parametrize("kind", ["predict", "stream"])
def test_an_agent_that_answers_when_it_is_cancelled(kind: str) -> None:
    """Regression (seed 991107, profile chaos): a stream was opened after its call had been cancelled."""
    bodies: list[Any] = []

    class Answer(Response):
        def deliverBody(self, protocol: Any) -> None:
            bodies.append(protocol)
            protocol.makeConnection(Transport())

    class Transport:
        is_closed = False

        def loseConnection(self) -> None:
            self.is_closed = True

    region = Region(lambda: Deferred(lambda posting: posting.callback(Answer())))
    call = region.call() if kind == "predict" else Result(region.client.stream("x").open())
    region.advance(0.0)
    call.deferred.cancel()
    assert isinstance(call.error, CancelledError)
    (body,) = bodies
    assert body.transport.is_closed
    assert str(region.call().value) == "ok"
    region.assert_clean()


def test_a_late_response_is_not_that_of_the_next_call() -> None:
    late: Deferred[Any] = Deferred(lambda _: None)
    region = Region(lambda: late)
    first = region.call()
    first.deferred.cancel()
    second = region.call()
    assert isinstance(first.error, CancelledError)
    assert str(second.value) == "ok"
    region.assert_clean()


@pytest.mark.parametrize("code", [502, 503, 504])
def test_statuses_502_503_and_504_of_the_gateway_are_retried(code: int) -> None:
    region = Region(lambda: succeed(Response(code, b"")), lambda: succeed(Response(code, b"")))
    call = region.call()
    assert not call.fired
    for _ in range(3):
        region.advance(0.1)
    assert str(call.value) == "ok"
    assert region.client.counters.retries == {str(code): 2}
    region.agent.acts.append(lambda: succeed(Response(code, b"")))
    assert region.call(idempotent=False).error.status == code
    region.assert_clean()


def test_retry_on_replaces_the_default_of_the_gateway() -> None:
    region = Region(lambda: succeed(Response(502, b"")), retry_on={503})
    assert region.call().error.status == 502
    region.assert_clean()


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("http://[0:0::1]:81", b"http://[::1]:81"),
        ("http://my_gateway:81/base/", b"http://my_gateway:81/base"),
        ("Gateway.EXAMPLE.", b"http://gateway.example."),
        ("r3---sn.example", b"http://r3---sn.example"),
        ("https://xn--4ca.example:8443", b"https://xn--4ca.example:8443"),
    ],
)
def test_hosts_reach_the_agent_unchanged(endpoint: str, origin: bytes) -> None:
    region = Region(endpoint=endpoint)
    assert str(region.call().value) == "ok"
    assert region.agent.asked[0][0] == origin + b"/api/predict/svc"
    region.assert_clean()


def test_a_host_name_that_is_invalid_in_idna_is_resolved_unchanged() -> None:
    for host in ("my_gateway", "10.0.0.9"):
        reactor = PuppetReactor()
        client = PredictClient(f"http://{host}:81", "svc", reactor=reactor)
        Result(client.init())
        Result(client.predict("x"))
        assert reactor.dials[0].address == (host, 81)
        Result(client.close())
