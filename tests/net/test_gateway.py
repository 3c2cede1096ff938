"""The gateway through an agent of the program's own, whatever that does; and what the gateway says is retried."""

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

from eas_tw import Condition, ConnectionFailed, DeadlineExceeded, PredictClient, StatusError
from eas_tw.config import ClientConfig
from tests.net.calling import Result
from tests.net.fleet import PuppetReactor

if TYPE_CHECKING:
    from collections.abc import Callable


class Response:
    """A response of an agent; its body comes whole, at once."""

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
    """Does what the test says, one thing for each request; then it answers."""

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


def bad_canceller() -> Any:
    return Deferred(lambda _: raises(RuntimeError("cannot be cancelled"))())


class Town:
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


FAILURES = [
    (lambda: fail(ConnectionRefusedError()), Condition.CONNECT_REFUSED),
    (raises(ConnectionRefusedError()), Condition.CONNECT_REFUSED),
    (lambda: fail(DNSLookupError("no such name")), Condition.CONNECT_FAILED),
    (raises(socket.gaierror("no such name")), Condition.CONNECT_FAILED),
    (lambda: fail(SchemeNotSupported("https")), Condition.CONNECT_FAILED),
    (lambda: fail(ResponseNeverReceived([Failure(ConnectionError("reset"))])), Condition.LOST),
    (lambda: fail(CancelledError()), Condition.LOST),
    (raises(RuntimeError("the proxy's address is not known")), Condition.LOST),
    (raises(asyncio.CancelledError()), Condition.LOST),
    (raises(GeneratorExit()), Condition.LOST),
    (raises(SystemExit(3)), Condition.LOST),
    (lambda: None, Condition.LOST),
    (Response, Condition.LOST),
    (lambda: succeed(None), Condition.LOST),
    (lambda: succeed(Response(error=ConnectionError("cut off"))), Condition.LOST),
]


@pytest.mark.parametrize(("act", "condition"), FAILURES)
def test_whatever_an_agent_does_is_an_outcome_at_once(act: Callable[[], Any], condition: Condition) -> None:
    """With one attempt the call ends there and then; with more the next one answers."""
    town = Town(act, act, attempts=1)
    call = town.call()
    assert isinstance(call.error, ConnectionFailed)
    assert call.conditions == [condition]
    assert town.call().conditions == [condition]
    assert str(town.call().value) == "ok"
    assert [type(error) for error in town.raised] in ([], [SystemExit] * 2)
    town.assert_clean()
    town = Town(act)
    call = town.call()
    town.advance(0.3)
    assert str(call.value) == "ok"
    town.assert_clean()


def test_an_agent_that_answers_before_it_returns() -> None:
    """Its answer is the call's, with the headers, and nothing waits for the deadline."""
    town = Town(lambda: succeed(Response(400, b"bad column")))
    call = town.call()
    assert isinstance(call.error, StatusError)
    assert (call.error.status, call.error.body, call.error.headers) == (400, b"bad column", {"x-a": "1"})
    town.assert_clean()


@pytest.mark.parametrize("act", [Deferred, bad_canceller])
@pytest.mark.parametrize("how", ["deadline", "cancelled", "closed"])
def test_an_agent_that_never_answers(act: Callable[[], Any], how: str) -> None:
    """The call ends all the same, even if the request cannot be cancelled; what comes later is nobody's."""
    town = Town(act, drain_timeout_s=0.0)
    call = town.call()
    if how == "deadline":
        town.advance(5.0)
        assert isinstance(call.error, DeadlineExceeded)
    elif how == "cancelled":
        call.deferred.cancel()
        assert isinstance(call.error, CancelledError)
    else:
        assert Result(town.client.close()).fired
        assert type(call.error).__name__ == "ClientClosed"
    if how != "closed":
        assert str(town.call().value) == "ok"
    town.assert_clean()


def test_a_late_answer_is_not_the_next_calls() -> None:
    """Of a request that was withdrawn."""
    late: Deferred[Any] = Deferred(lambda _: None)
    town = Town(lambda: late)
    first = town.call()
    first.deferred.cancel()
    second = town.call()
    assert isinstance(first.error, CancelledError)
    assert str(second.value) == "ok"
    town.assert_clean()


@pytest.mark.parametrize("code", [502, 503, 504])
def test_what_the_gateway_says_of_an_instance_is_tried_again(code: int) -> None:
    """After a pause, at the same address; a call that is not idempotent is not."""
    town = Town(lambda: succeed(Response(code, b"")), lambda: succeed(Response(code, b"")))
    call = town.call()
    assert not call.fired
    for _ in range(3):
        town.advance(0.1)
    assert str(call.value) == "ok"
    assert town.client.counters.retries == {str(code): 2}
    town.agent.acts.append(lambda: succeed(Response(code, b"")))
    assert town.call(idempotent=False).error.status == code
    town.assert_clean()


def test_retry_on_of_ones_own_holds() -> None:
    """The gateway's default is not added to it."""
    town = Town(lambda: succeed(Response(502, b"")), retry_on={503})
    assert town.call().error.status == 502
    town.assert_clean()


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
def test_hosts_of_every_kind(endpoint: str, origin: bytes) -> None:
    """Reach the agent as they are; no URL library is asked for its opinion."""
    town = Town(endpoint=endpoint)
    assert str(town.call().value) == "ok"
    assert town.agent.asked[0][0] == origin + b"/api/predict/svc"
    town.assert_clean()


def test_a_name_that_idna_does_not_know_is_looked_up_all_the_same() -> None:
    """By our own agent; docker compose's names have underscores."""
    for host in ("my_gateway", "10.0.0.9"):
        reactor = PuppetReactor()
        client = PredictClient(f"http://{host}:81", "svc", reactor=reactor)
        Result(client.init())
        Result(client.predict("x"))
        assert reactor.dials[0].address == (host, 81)
        Result(client.close())
