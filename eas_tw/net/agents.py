"""The HTTP agent of the control plane and the gateway: Twisted's, with its hidden retry off and its sockets counted.

Counted, because cancelling a request only begins to close its connection, and `close()` promises that every socket has
reported its loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from eas_tw.net.endpoints import Endpoints

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocol, IProtocolFactory, ITCPTransport
    from twisted.python.failure import Failure
    from twisted.web.client import URI
    from twisted.web.iweb import IAgent

    from eas_tw.net.pool import Reactor


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
        self._endpoints = _CountedEndpoints(Endpoints(reactor, connect_timeout_s, trust_roots))
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

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._open: dict[_CountingProtocol, None] = {}
        self._waiters: list[Deferred[None]] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """The endpoint for a URI (`IAgentEndpointFactory`)."""
        host = uri.host.decode("ascii")
        counted = _CountedEndpoint(self._endpoints.tcp(host, uri.port), self)
        return self._endpoints.secured(counted, host, uri.port) if uri.scheme == b"https" else counted

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
