"""The HTTP agent of the control plane and the gateway: Twisted's, with its hidden retry off and its sockets counted.

Counted, because cancelling a request only begins to close its connection, and `close()` promises that every socket has
reported its loss.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import isIPAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from eas_tw.errors import ConfigError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocol, IProtocolFactory, ITCPTransport
    from twisted.python.failure import Failure
    from twisted.web.client import URI
    from twisted.web.iweb import IAgent

    from eas_tw.net.pool import Reactor


_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


class Agents:
    """An agent, and the account of its sockets.

    Args:
        reactor: Clock and network.
        connect_timeout_s: Bound on opening a connection.
        keep: How many idle connections to keep for a host, 0 for none.
        idle_timeout_s: How long to keep them.
        trust_roots: A PEM file of the authorities to trust; `None` for the platform's.
        agent: The user's own agent, whose sockets are the user's business; `None` for ours.

    Raises:
        ConfigError: `trust_roots` is not what it must be.
    """

    def __init__(
        self,
        reactor: Reactor,
        *,
        connect_timeout_s: float,
        keep: int = 0,
        idle_timeout_s: float = 30.0,
        trust_roots: str | None = None,
        agent: IAgent | None = None,
    ) -> None:
        self._pool = pool = HTTPConnectionPool(reactor, persistent=keep > 0)
        pool.retryAutomatically = False
        pool.maxPersistentPerHost = keep
        pool.cachedConnectionTimeout = idle_timeout_s  # type: ignore[assignment]
        policy = _https_policy(trust_roots) if trust_roots else None
        self._endpoints = _CountedEndpoints(reactor, connect_timeout_s, policy)
        self.agent: IAgent = agent or Agent.usingEndpointFactory(reactor, self._endpoints, pool)

    def close(self) -> Deferred[Any]:
        """Close every connection; to be called when nothing is asked any more.

        Returns:
            Fires when every socket is gone.
        """
        # Begun first, so that the pool forgets them; over TLS it would wait for the other end, which may be silent.
        closing: Deferred[Any] = self._pool.closeCachedConnections()
        self._endpoints.abort()
        return closing.addBoth(lambda _: self._endpoints.when_gone())


@implementer(IAgentEndpointFactory)
class _CountedEndpoints:
    """Endpoints for URIs (`IAgentEndpointFactory`), whose connections are counted."""

    def __init__(self, reactor: Reactor, connect_timeout_s: float, policy: BrowserLikePolicyForHTTPS | None) -> None:
        self._reactor = reactor
        self._connect_timeout_s = connect_timeout_s
        self._policy = policy
        self._open: dict[_CountingProtocol, None] = {}
        self._waiters: list[Deferred[None]] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """The endpoint for a URI (`IAgentEndpointFactory`)."""
        host = uri.host.decode("ascii")
        # An address needs no resolver, its thread, and no race between several: half of what a connection costs.
        kind = TCP4ClientEndpoint if isIPAddress(host) else HostnameEndpoint
        endpoint = kind(self._reactor, host, uri.port, timeout=self._connect_timeout_s)
        counted = _CountedEndpoint(endpoint, self)
        if uri.scheme != b"https":
            return counted
        if self._policy is None:
            self._policy = BrowserLikePolicyForHTTPS()
        return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), counted)

    def opened(self, connection: _CountingProtocol) -> None:
        """A socket more."""
        self._open[connection] = None

    def lost(self, connection: _CountingProtocol) -> None:
        """A socket fewer."""
        self._open.pop(connection, None)
        if not self._open:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def abort(self) -> None:
        """Cut every connection, whatever the other end does."""
        for connection in list(self._open):
            connection.abort()

    def when_gone(self) -> Deferred[None]:
        """Fires when no socket is open."""
        if not self._open:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter


def _https_policy(trust_roots: str) -> BrowserLikePolicyForHTTPS:
    """Trust these authorities; there is no way to trust everybody."""
    # Imported here: it takes the tls extra, and most clients never meet https.
    from twisted.internet.ssl import Certificate, trustRootFromCertificates  # noqa: PLC0415

    try:
        blocks = _CERTIFICATE.findall(Path(trust_roots).read_text("ascii"))
        certificates = [Certificate.loadPEM(block) for block in blocks]
    except Exception as error:  # OpenSSL's errors have no base class of their own
        raise ConfigError(f"trust_roots: {trust_roots} cannot be read: {error}") from error
    if not certificates:
        raise ConfigError(f"trust_roots: {trust_roots} has no certificate; it must be a PEM file")
    return BrowserLikePolicyForHTTPS(trustRootFromCertificates(certificates))


@implementer(IStreamClientEndpoint)
class _CountedEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint, count: _CountedEndpoints) -> None:
        self._endpoint = endpoint
        self._count = count

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting: Deferred[Any] = self._endpoint.connect(_CountingFactory(protocolFactory, self._count))
        return connecting.addCallback(lambda wrapper: wrapper.wrappedProtocol)


class _CountingProtocol(ProtocolWrapper):
    transport: ITCPTransport

    def abort(self) -> None:
        self.transport.abortConnection()

    def makeConnection(self, transport: Any) -> None:
        self.factory.count.opened(self)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.factory.count.lost(self)


class _CountingFactory(WrappingFactory):
    noisy = False
    protocol = _CountingProtocol

    def __init__(self, factory: IProtocolFactory, count: _CountedEndpoints) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self.count = count
