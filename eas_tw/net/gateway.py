"""Calls through the gateway of a service (the default endpoint type), by Twisted's agent or by the program's agent.

For a call the gateway is a fleet of one instance. The gateway does the load balancing and failover. The retry policy,
the deadline and the outcomes are the same as on direct connections.
"""

from __future__ import annotations

import builtins
import errno
from functools import partial
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent  # Twisted has no public name for it
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from eas_tw.display import text_of
from eas_tw.net.agent_fetch import collect
from eas_tw.net.agents import Agents
from eas_tw.net.connect_errors import connect_outcome
from eas_tw.net.http1 import RESET_CONTENT
from eas_tw.net.own_connection import connect_endpoint
from eas_tw.policy.instances import DiscoveryReplyRejected, Instance
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from eas_tw.telemetry.contained import contain, pass_on

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from twisted.internet.interfaces import IConsumer
    from twisted.web.iweb import IAgent, IResponse

    from eas_tw.config import ClientConfig
    from eas_tw.net.attempt import Attempt
    from eas_tw.net.exchange import BodySink
    from eas_tw.net.fleet import Begun, FleetObserver
    from eas_tw.net.own_connection import OnFailed
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import Change
    from eas_tw.policy.selection import Selection

_WITH_BODY = (b"POST", b"PUT", b"PATCH")
"""Methods whose requests announce a length even when it is 0 (RFC 9110 §8.6)."""
_PORTS = {"http": 80, "https": 443}
_NOTHING_OPENED = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL})
"""Errors that only the opening of a file or a socket raises; they prove that nothing of the request was sent."""
_Answer = tuple[int, bytes, bytes]
"""Status, head and body."""


class Gateway:
    """The gateway of a service.

    Args:
        reactor: The reactor, for timers and connections.
        base_url: Scheme, host and port, and a path prefix if any; `https` requires the `tls` extra.
        config: The settings, of which the timeouts and size limits are used.
        agent: The agent to use, such as one for a proxy; `None` for Twisted's agent.
    """

    is_sole = is_ready = True
    reads_calls = False
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
        self._withdrawn: Attempt | None = None

    def choose(self, selection: Selection, now: float) -> Instance:  # noqa: ARG002
        """Return the gateway, which is the only instance."""
        return self.instance

    def pool_of(self, instance: Instance) -> Gateway:  # noqa: ARG002
        """Return this object, which also dispatches the attempts."""
        return self

    def host_of(self, instance: Instance) -> str:  # noqa: ARG002
        """Return the Host header of requests to the gateway."""
        return self._origin.decode("ascii").partition("://")[2]

    def connect(self, instance: Instance, protocol: Protocol, on_failed: OnFailed) -> Callable[[], None]:  # noqa: ARG002
        """Open a separate connection to the gateway for a protocol; return a function that cancels the opening."""
        return connect_endpoint(self._agents.endpoint(self._origin), protocol, on_failed)

    def has_another(self, failed: Collection[Any]) -> bool:
        """Return whether the gateway is not in `failed`."""
        return self.instance.key not in failed

    def has_well(self, tried: Collection[Any]) -> bool:
        """Return whether the gateway is not in `tried`."""
        return self.instance.key not in tried

    def record(self, attempt: Begun, outcome: Outcome, latency_s: float | None = None) -> None:
        """Ignore the outcome: there is no other instance to prefer."""

    def began_to_answer(self, attempt: Begun) -> None:
        """Ignore the head of a stream: the gateway has no health record."""

    def suspect(self, attempt: Attempt) -> None:
        """Ignore the overdue attempt: the gateway has no health record."""

    def is_probe(self, attempt: Attempt) -> bool:  # noqa: ARG002
        """Return `False`: a gateway is never ejected."""
        return False

    def watch(self, attempt: Attempt, timeout_s: float) -> None:
        """Return `None`: a gateway has no health record that a watch could update."""

    def heard_since(self, at: float) -> bool:  # noqa: ARG002
        """Return `True`, so that a gateway is never found silent: there is no other instance to try."""
        return True

    def is_queued(self, attempt: Attempt) -> bool:  # noqa: ARG002
        """Return `False`, because an agent does not report whether it has sent a request."""
        return False

    @property
    def is_opening(self) -> bool:
        """Always `False`, because an agent does not report whether it is opening a connection."""
        return False

    def submit(self, attempt: Attempt, *, fresh: bool) -> None:  # noqa: ARG002
        """Send the request of an attempt."""
        # Callbacks are added last, because an agent may answer, fail or raise before its `request` returns.
        posting = self._running[attempt] = Deferred.fromCoroutine(self._post(attempt))
        posting.addCallbacks(partial(self._answered, attempt), partial(self._failed, attempt))

    def withdraw(self, attempt: Attempt) -> bool:
        """Cancel the request of an attempt; return `False`, because an agent does not report what it has sent."""
        running = self._running.pop(attempt, None)
        if running is not None:
            self._withdrawn = attempt
            try:
                running.cancel()
            except BaseException:  # noqa: BLE001  the agent's canceller; its result is not needed
                contain(self._later, "an agent's request could not be cancelled")
            finally:
                self._withdrawn = None
        return False

    def apply(self, instances: Sequence[Instance]) -> tuple[Change, ...]:  # noqa: ARG002
        """Ignore the list: a gateway has none."""
        return ()

    def observe(self, observer: FleetObserver) -> None:
        """Ignore the observer: a gateway neither chooses nor ejects."""

    def close(self) -> Deferred[Any]:
        """Close all connections; return a Deferred that fires when every socket is closed."""
        return self._agents.close()

    async def _post(self, attempt: Attempt) -> _Answer:
        request = attempt.request
        # treq cannot be used: its URLs accept neither IPv6 addresses nor names with an underscore.
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
        if attempt is self._withdrawn:
            # The attempt was withdrawn, and the agent's canceller has fired with a response. Its body is not needed:
            # without a sink `_StreamedBody` closes the connection.
            response.deliverBody(_StreamedBody())
            raise CancelledError
        lines = [name + b": " + value for name, values in response.headers.getAllRawHeaders() for value in values]
        head = b"\r\n".join([b"HTTP/1.1 %d" % response.code, *lines, b""])
        if response.code == RESET_CONTENT:
            response.deliverBody(_StreamedBody())
            return response.code, head, b""
        if attempt.on_head is not None:
            source = _StreamedBody()
            sink = attempt.on_head(source, response.code, head)
            if isinstance(sink, type):  # NoBody
                return response.code, head, b""
            if sink is not None:
                # From here on, the sink receives all reports instead of the attempt.
                self._running.pop(attempt, None)
                try:
                    source.begin(sink, response)
                except BaseException as error:  # noqa: BLE001  raised by the agent's response: no piece will come
                    pass_on(self._later, error)
                    source.connectionLost(Failure(error))
                return response.code, head, b""
        return response.code, head, await collect(response, self._config.max_response_bytes)

    def _answered(self, attempt: Attempt, answer: _Answer) -> None:
        if self._running.pop(attempt, None) is not None:
            attempt.answered(*answer)

    def _failed(self, attempt: Attempt, failure: Failure) -> None:
        """Report a failure of the agent as an outcome; the failure of a withdrawn attempt is ignored."""
        if self._running.pop(attempt, None) is not None:
            error = failure.value
            pass_on(self._later, error)
            attempt.broke(_outcome(error))


class _StreamedBody(Protocol):
    """Delivers the body of an agent's response to a sink, which can pause it (`Source`)."""

    def __init__(self) -> None:
        self._sink: BodySink | None = None

    def begin(self, sink: BodySink, response: IResponse) -> None:
        """Open the sink and start the body."""
        self._sink = sink
        sink.open()
        response.deliverBody(self)

    def pause(self) -> None:
        """Stop reading until `resume`."""
        self._call_transport("pauseProducing")

    def resume(self) -> None:
        """Continue reading from the socket."""
        self._call_transport("resumeProducing")

    def abandon(self) -> None:
        """Close the connection immediately."""
        self._sink = None
        # The agent provides the transport of a body, and the methods of that transport differ between agents.
        self._call_transport("abortConnection", "loseConnection", "stopProducing")

    def connectionMade(self) -> None:
        """Close the connection if the body was abandoned before it began (`IProtocol`)."""
        if self._sink is None:
            self.abandon()

    def dataReceived(self, data: bytes) -> None:
        """Pass a piece of the body to the sink (`IProtocol`)."""
        if self._sink is not None:
            self._sink.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the end of the body (`IProtocol`); `PotentialDataLoss` means a body without a length."""
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
    """Convert header lines to `Headers`, without Content-Length, which the agent adds."""
    pairs = (line.split(": ", 1) for line in lines.decode("latin-1").split("\r\n") if line)
    return Headers({name: [value] for name, value in pairs if name != "Content-Length"})


@implementer(IBodyProducer)
class _WholeBody:
    """A body that is written in one piece."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the body (`IBodyProducer`)."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: the whole body has been written (`IPushProducer`)."""

    def resumeProducing(self) -> None:
        """Do nothing: the whole body has been written (`IPushProducer`)."""

    def stopProducing(self) -> None:
        """Do nothing: the whole body has been written (`IProducer`)."""


def _outcome(error: BaseException | None) -> Outcome:
    if isinstance(error, DiscoveryReplyRejected):
        return Outcome(AttemptStatus.VIOLATION, detail=str(error))
    if isinstance(error, builtins.ConnectionRefusedError):
        return Outcome(AttemptStatus.CONNECT_REFUSED)
    if isinstance(error, ConnectError) or (isinstance(error, OSError) and error.errno in _NOTHING_OPENED):
        return connect_outcome(error)
    if isinstance(error, DNSLookupError | gaierror | SchemeNotSupported):
        return Outcome(AttemptStatus.CONNECT_FAILED, detail=text_of(error))
    if isinstance(error, RequestNotSent):
        return Outcome(
            AttemptStatus.UNSENT, detail="an idle connection was closed, or had bytes, before the request left"
        )
    return _lost(error)


def _lost(error: BaseException | None) -> Outcome:
    """Convert a failure to an outcome, if a part of the request may have been sent."""
    reasons = getattr(error, "reasons", None)
    inner = [reason.value for reason in reasons if isinstance(reason, Failure)] if isinstance(reasons, list) else []
    detail = text_of(inner[0]) if inner else f"{type(error).__name__}: {text_of(error)}"
    if isinstance(error, ResponseFailed) and not isinstance(error, ResponseNeverReceived):
        return Outcome(AttemptStatus.RESPONSE_TRUNCATED, detail=detail)
    return Outcome(AttemptStatus.LOST, detail=detail)
