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
from twisted.web._newclient import RequestNotSent  # where Twisted keeps it, and there is no other way
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from eas_tw.net.agent_fetch import collect
from eas_tw.net.agents import Agents
from eas_tw.net.connect_errors import connect_outcome
from eas_tw.policy.instances import Instance, RefusedReplyError
from eas_tw.policy.outcomes import Condition, Outcome
from eas_tw.telemetry.contained import contain, pass_on

if TYPE_CHECKING:
    from collections.abc import Collection

    from twisted.internet.interfaces import IConsumer
    from twisted.python.failure import Failure
    from twisted.web.iweb import IAgent

    from eas_tw.config import ClientConfig
    from eas_tw.net.leg import Leg, Request
    from eas_tw.net.pool import Reactor

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

    is_sole = True

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
        self._running: dict[Leg, Deferred[_Answer]] = {}

    def choose(self, tried: Collection[Any], failed: Collection[Any], now: float) -> Instance:  # noqa: ARG002
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

    def began_to_answer(self, leg: Leg) -> None:
        """Nothing to learn."""

    def suspect(self, leg: Leg) -> None:
        """Nothing to learn either."""

    def is_probe(self, leg: Leg) -> bool:  # noqa: ARG002
        """A gateway is never ejected."""
        return False

    def watch(self, leg: Leg, timeout_s: float) -> None:
        """Nothing is listened to further."""

    def heard_since(self, at: float) -> bool:  # noqa: ARG002
        """Whether it has answered, which nobody asks of a gateway: there is no other way to try."""
        return True

    @property
    def is_opening(self) -> bool:
        """Whether a connection is being opened, which an agent does not tell."""
        return False

    def submit(self, leg: Leg, *, fresh: bool) -> None:  # noqa: ARG002
        """Send it."""
        # The callbacks last: an agent may answer, fail or raise before its `request` returns.
        posting = self._running[leg] = Deferred.fromCoroutine(self._post(leg.request))
        posting.addCallbacks(partial(self._answered, leg), partial(self._failed, leg))

    def withdraw(self, leg: Leg) -> bool:
        """Stop sending it or waiting for it; whether nothing of it was sent, which an agent does not tell."""
        running = self._running.pop(leg, None)
        if running is not None:
            try:
                running.cancel()
            except BaseException:  # noqa: BLE001  the agent's canceller; nobody waits for it any more
                contain(self._later, "an agent's request could not be cancelled")
        return False

    def close(self) -> Deferred[Any]:
        """Fires when kept connections are closed and every socket is gone."""
        return self._agents.close()

    async def _post(self, request: Request) -> _Answer:
        # Not through treq, whose URLs take no IPv6 address and no underscore.
        url = self._origin + request.target
        requesting = self._agents.agent.request(b"POST", url, _fields(request.fields), _WholeBody(request.body))
        is_written = self._agents.flush()
        try:
            response = await requesting
        except Exception as error:
            if is_written:
                raise
            raise RequestNotSent from error
        body = await collect(response, self._config.max_response_bytes)
        lines = [name + b": " + value for name, values in response.headers.getAllRawHeaders() for value in values]
        return response.code, b"\r\n".join([b"", *lines, b""]), body

    def _answered(self, leg: Leg, answer: _Answer) -> None:
        if self._running.pop(leg, None) is not None:
            leg.answered(*answer)

    def _failed(self, leg: Leg, failure: Failure) -> None:
        """Every failure of the agent is an outcome, whatever it raised; one of a leg that was withdrawn is none."""
        if self._running.pop(leg, None) is not None:
            error = failure.value
            pass_on(self._later, error)
            leg.broke(_outcome(error))


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
    if isinstance(error, RefusedReplyError):
        return Outcome(Condition.VIOLATION, detail=str(error))
    if isinstance(error, builtins.ConnectionRefusedError):
        return Outcome(Condition.CONNECT_REFUSED)
    if isinstance(error, ConnectError):
        return connect_outcome(error)
    if isinstance(error, DNSLookupError | gaierror | SchemeNotSupported):
        return Outcome(Condition.CONNECT_FAILED, detail=str(error))
    if isinstance(error, RequestNotSent):
        return Outcome(Condition.UNSENT, detail="a kept connection was closed, or had bytes, before the request left")
    return _lost(error)


def _lost(error: BaseException | None) -> Outcome:
    """Classify a failure after the request may have left."""
    inner = [failure.value for failure in getattr(error, "reasons", ())]
    detail = str(inner[0]) if inner else f"{type(error).__name__}: {error}"
    if isinstance(error, ResponseFailed) and not isinstance(error, ResponseNeverReceived):
        return Outcome(Condition.CUT, detail=detail)
    return Outcome(Condition.LOST, detail=detail)
