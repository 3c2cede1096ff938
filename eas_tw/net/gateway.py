"""The default endpoint type: one address, the service's gateway, asked by Twisted's agent or by the program's own.

To a call it looks like a fleet of one. Balancing and failover are the gateway's; the retry policy, the deadline and the
vocabulary of outcomes are the same as on direct connections.
"""

from __future__ import annotations

import builtins
from functools import partial
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web._newclient import RequestNotSent  # where Twisted keeps it, and there is no other way
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from eas_tw.net.agent_fetch import collect
from eas_tw.net.agents import Agents
from eas_tw.net.connect_errors import connect_outcome
from eas_tw.policy.instances import DiscoveryReplyRejected, Instance
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from eas_tw.telemetry.contained import contain, pass_on

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from twisted.internet.interfaces import IConsumer
    from twisted.python.failure import Failure
    from twisted.web.iweb import IAgent, IResponse

    from eas_tw.config import ClientConfig
    from eas_tw.net.attempt import Attempt
    from eas_tw.net.fleet import FleetObserver
    from eas_tw.net.http1 import BodySink
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import Change
    from eas_tw.policy.selection import Selection

_WITH_BODY = (b"POST", b"PUT", b"PATCH")
"""Methods whose requests announce a length even when it is 0 (RFC 9110 §8.6)."""
_PORTS = {"http": 80, "https": 443}
_Answer = tuple[int, bytes, bytes]
"""Status, head and body."""


class Gateway:
    """The gateway of a service.

    Args:
        reactor: Clock and network.
        base_url: Scheme, host and port, and a prefix of the path if any; `https` takes the `tls` extra.
        config: Timeouts and bounds.
        agent: Another way to reach the gateway, such as a proxy.
    """

    is_sole = is_ready = True
    instances = ejected = ()

    def __init__(self, reactor: Reactor, base_url: str, config: ClientConfig, agent: IAgent | None = None) -> None:
        parts = urlsplit(base_url)
        self.instance = Instance(parts.hostname or "", parts.port or _PORTS[parts.scheme])
        self.address = self.instance.address
        self._origin = f"{parts.scheme}://{parts.netloc}".encode("ascii")
        self._config = config
        self._agents = Agents(
            reactor,
            connect_timeout_s=config.connect_timeout_s,
            keep=config.max_connections_per_instance,
            idle_timeout_s=config.idle_timeout_s,
            trust_roots=config.trust_roots,
            agent=agent,
        )
        self._later = reactor.callLater
        self._running: dict[Attempt, Deferred[_Answer]] = {}

    def choose(self, selection: Selection, now: float) -> Instance:  # noqa: ARG002
        """The gateway itself, always."""
        return self.instance

    def pool_of(self, instance: Instance) -> Gateway:  # noqa: ARG002
        """The gateway itself, always."""
        return self

    def has_another(self, failed: Collection[Any]) -> bool:
        """Whether the gateway has not failed yet."""
        return self.instance.key not in failed

    def has_well(self, tried: Collection[Any]) -> bool:
        """Whether the gateway is untried."""
        return self.instance.key not in tried

    def record(self, instance: Instance, outcome: Outcome, began: float) -> None:
        """Nothing to learn: there is nobody else to send to."""

    def began_to_answer(self, attempt: Attempt) -> None:
        """Nothing to learn."""

    def suspect(self, attempt: Attempt) -> None:
        """Nothing to learn either."""

    def is_probe(self, attempt: Attempt) -> bool:  # noqa: ARG002
        """A gateway is never ejected."""
        return False

    def watch(self, attempt: Attempt, timeout_s: float) -> None:
        """Nothing is listened to further."""

    def heard_since(self, at: float) -> bool:  # noqa: ARG002
        """Whether it has answered, which nobody asks of a gateway: there is no other way to try."""
        return True

    @property
    def is_opening(self) -> bool:
        """Whether a connection is being opened, which an agent does not tell."""
        return False

    def submit(self, attempt: Attempt, *, fresh: bool) -> None:  # noqa: ARG002
        """Send it."""
        # The callbacks last: an agent may answer, fail or raise before its `request` returns.
        posting = self._running[attempt] = Deferred.fromCoroutine(self._post(attempt))
        posting.addCallbacks(partial(self._answered, attempt), partial(self._failed, attempt))

    def withdraw(self, attempt: Attempt) -> bool:
        """Stop sending it or waiting for it; whether nothing of it was sent, which an agent does not tell."""
        running = self._running.pop(attempt, None)
        if running is not None:
            try:
                running.cancel()
            except BaseException:  # noqa: BLE001  the agent's canceller; nobody waits for it any more
                contain(self._later, "an agent's request could not be cancelled")
        return False

    def apply(self, instances: Sequence[Instance]) -> tuple[Change, ...]:  # noqa: ARG002
        """Nothing to take over: a gateway has no list."""
        return ()

    def observe(self, observer: FleetObserver) -> None:
        """Nothing to tell: there is no choice, and nobody is ejected."""

    def close(self) -> Deferred[Any]:
        """Fires when kept connections are closed and every socket is gone."""
        return self._agents.close()

    async def _post(self, attempt: Attempt) -> _Answer:
        request = attempt.request
        # Not through treq, whose URLs take no IPv6 address and no underscore.
        url = self._origin + request.target
        body_producer = _WholeBody(request.body) if request.body or request.method in _WITH_BODY else None
        requesting = self._agents.agent.request(request.method, url, _fields(request.fields), body_producer)
        is_written = self._agents.flush()
        try:
            response = await requesting
        except Exception as error:
            if is_written:
                raise
            raise RequestNotSent from error
        lines = [name + b": " + value for name, values in response.headers.getAllRawHeaders() for value in values]
        head = b"\r\n".join([b"HTTP/1.1 %d" % response.code, *lines, b""])
        if attempt.on_head is not None:
            source = _StreamedBody()
            sink = attempt.on_head(source, response.code, head)
            if isinstance(sink, type):  # NoBody
                return response.code, head, b""
            if sink is not None:
                # From here on the sink is told, and the attempt nothing any more.
                self._running.pop(attempt, None)
                source.begin(sink, response)
                return response.code, head, b""
        return response.code, head, await collect(response, self._config.max_response_bytes)

    def _answered(self, attempt: Attempt, answer: _Answer) -> None:
        if self._running.pop(attempt, None) is not None:
            attempt.answered(*answer)

    def _failed(self, attempt: Attempt, failure: Failure) -> None:
        """Every failure of the agent is an outcome, whatever it raised; that of a withdrawn attempt is none."""
        if self._running.pop(attempt, None) is not None:
            error = failure.value
            pass_on(self._later, error)
            attempt.broke(_outcome(error))


class _StreamedBody(Protocol):
    """The body of an agent's response on its way to a sink; the source that the sink pauses."""

    def __init__(self) -> None:
        self._sink: BodySink | None = None

    def begin(self, sink: BodySink, response: IResponse) -> None:
        """Open the sink and let the body come."""
        self._sink = sink
        sink.open()
        response.deliverBody(self)

    def pause(self) -> None:
        """Read no more for a while."""
        self._call_transport("pauseProducing")

    def resume(self) -> None:
        """Go on reading."""
        self._call_transport("resumeProducing")

    def abandon(self) -> None:
        """Close at once."""
        self._sink = None
        # The transport of a body is the agent's own; some have one of these, some the other.
        self._call_transport("abortConnection", "loseConnection", "stopProducing")

    def connectionMade(self) -> None:
        """The body is about to come (`IProtocol`)."""
        if self._sink is None:
            self.abandon()

    def dataReceived(self, data: bytes) -> None:
        """A piece of it came (`IProtocol`)."""
        if self._sink is not None:
            self._sink.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended (`IProtocol`); `PotentialDataLoss` is the end of a body without a length."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            sink.finished()
        else:
            sink.broke(Outcome(AttemptStatus.RESPONSE_TRUNCATED, detail=_lost(reason.value).detail))

    def _call_transport(self, *names: str) -> None:
        for name in names:
            method = getattr(self.transport, name, None)
            if method is not None:
                method()
                return


def _fields(lines: bytes) -> Headers:
    """Header lines back into fields; the length is the agent's to say."""
    pairs = (line.split(": ", 1) for line in lines.decode("latin-1").split("\r\n") if line)
    return Headers({name: [value] for name, value in pairs if name != "Content-Length"})


@implementer(IBodyProducer)
class _WholeBody:
    """A body that is written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it (`IBodyProducer`)."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing left to pause (`IPushProducer`)."""

    def resumeProducing(self) -> None:
        """There is nothing left to resume (`IPushProducer`)."""

    def stopProducing(self) -> None:
        """There is nothing left to stop (`IProducer`)."""


def _outcome(error: BaseException | None) -> Outcome:
    if isinstance(error, DiscoveryReplyRejected):
        return Outcome(AttemptStatus.VIOLATION, detail=str(error))
    if isinstance(error, builtins.ConnectionRefusedError):
        return Outcome(AttemptStatus.CONNECT_REFUSED)
    if isinstance(error, ConnectError):
        return connect_outcome(error)
    if isinstance(error, DNSLookupError | gaierror | SchemeNotSupported):
        return Outcome(AttemptStatus.CONNECT_FAILED, detail=str(error))
    if isinstance(error, RequestNotSent):
        return Outcome(
            AttemptStatus.UNSENT, detail="a kept connection was closed, or had bytes, before the request left"
        )
    return _lost(error)


def _lost(error: BaseException | None) -> Outcome:
    """Classify a failure after the request may have left."""
    inner = [failure.value for failure in getattr(error, "reasons", ())]
    detail = str(inner[0]) if inner else f"{type(error).__name__}: {error}"
    if isinstance(error, ResponseFailed) and not isinstance(error, ResponseNeverReceived):
        return Outcome(AttemptStatus.RESPONSE_TRUNCATED, detail=detail)
    return Outcome(AttemptStatus.LOST, detail=detail)
