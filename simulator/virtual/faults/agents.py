"""A misbehaving agent, which a program passes to its client of the gateway.

During a fault the agent fails immediately, raises, responds before `request` has returned, never responds, or delivers
a body twice. Without a fault, it passes the requests to a real agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionRefusedError, TimeoutError  # noqa: A004
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from simulator.virtual.network.fault_points import make, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

_OK = 200
TWICE = b"an answer for nobody"


class _AgentError(Exception):
    """An exception of a class that the client's code does not name."""


_ERRORS: Mapping[str, Callable[[], BaseException]] = {
    "refused": ConnectionRefusedError,
    "timeout": TimeoutError,
    "connect": ConnectError,
    "lost": lambda: ResponseNeverReceived([Failure(ConnectionError("lost"))]),
    "unknown": _AgentError,
}
FAILURES = tuple(_ERRORS)


@implementer(IAgent)
class MisbehavingAgent:
    """An agent that passes requests to another agent, and injects faults (`IAgent`).

    Args:
        agent: The agent that sends the requests without a fault.
        rng: Source of random draws.
    """

    def __init__(self, agent: Any, rng: Random) -> None:
        self._agent = agent
        self._rng = rng
        self._faults: list[tuple[str, Mapping[str, Any]]] = []
        self._answered: set[bytes] = set()

    def has_answered(self, body: bytes) -> bool:
        """Return whether the agent itself has responded to a request with this body, with the body as the response."""
        return body in self._answered

    def begin(self, kind: str, with_: Mapping[str, Any]) -> Callable[[], None]:
        """Start a fault; return the function that ends it."""
        fault = (kind, with_)
        self._faults.append(fault)
        return lambda: self._faults.remove(fault)

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        """Send a request (`IAgent`)."""
        for kind, with_ in self._faults:
            if self._rng.random() < with_["probability"]:
                misbehave: Callable[[Mapping[str, Any], Any], Deferred[Any]] = getattr(self, f"_{kind}")
                return misbehave(with_, bodyProducer)
        sent: Deferred[Any] = self._agent.request(method, uri, headers, bodyProducer)
        return sent

    def _agent_fails(self, with_: Mapping[str, Any], _: Any) -> Deferred[Any]:
        return fail(mark(_ERRORS[with_["error"]]()))

    def _agent_raises(self, with_: Mapping[str, Any], _: Any) -> Deferred[Any]:
        raise make(with_["error"])

    def _agent_answers_early(self, with_: Mapping[str, Any], producer: Any) -> Deferred[Any]:
        return succeed(_Answer(with_["code"], self._whole(producer)))

    def _agent_never_answers(self, with_: Mapping[str, Any], _: Any) -> Deferred[Any]:
        def cancel(asked: Deferred[Any]) -> None:
            if with_["cancelling"] == "raises":
                raise make("ValueError")
            if with_["cancelling"] == "answers":
                asked.callback(_Answer(_OK, TWICE))

        return Deferred(cancel)

    def _agent_answers_twice(self, _: Mapping[str, Any], producer: Any) -> Deferred[Any]:
        return succeed(_Answer(_OK, self._whole(producer), times=2))

    def _whole(self, producer: Any) -> bytes:
        """Return the body of a request, which its producer writes immediately, and record that it is the response."""
        written = _Written()
        producer.startProducing(written)
        body = b"".join(written.parts)
        self._answered.add(body)
        return body


class _Written:
    """A consumer that collects what a body producer writes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.parts.append(data)


@implementer(IResponse)
class _Answer:
    """A response whose body is delivered as soon as it is requested (`IResponse`)."""

    version = (b"HTTP", 1, 1)
    phrase = b"as the simulation says"
    request = None
    previousResponse = None  # noqa: N815

    def __init__(self, code: int, body: bytes, *, times: int = 1) -> None:
        self.code = code
        self.headers = Headers({})
        self.length = len(body)
        self._body = body
        self._times = times

    def deliverBody(self, protocol: Any) -> None:
        """Deliver the body; with `times` of 2, deliver another body after its end (`IResponse`)."""
        for number in range(self._times):
            protocol.dataReceived(TWICE if number else self._body)
            protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: Any) -> None:
        """Do nothing: there is no previous response (`IResponse`)."""
