"""Creation of Twisted's HTTP agent for the gateway, without automatic retries, and with a count of its sockets.

The sockets are counted because cancelling a request only begins to close its connection, while `close()` promises that
every socket has reported its loss. Idle connections are checked before use, because Twisted's pool also returns
an idle connection on which bytes have arrived, and the agent would read these bytes as the response to the next
request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection as SocketTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from eas_tw.net.endpoints import Endpoints
from eas_tw.net.readable import input_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from twisted.internet.interfaces import IProtocol, IProtocolFactory, ITCPTransport
    from twisted.python.failure import Failure
    from twisted.web.iweb import IAgent

    from eas_tw.net.pool import Reactor


class Agents:
    """Creates an agent, and counts its sockets.

    Args:
        reactor: The reactor, for timers and connections.
        connect_timeout_s: Maximum time for opening a connection, in seconds.
        keep: Maximum number of idle connections for each host; 0 for none.
        idle_timeout_s: Seconds after which an idle connection is closed.
        trust_roots: PEM file with the certificate authorities to trust; `None` for the platform's certificate
            authorities.
        agent: The user's own agent, whose sockets are not counted; `None` to create a Twisted agent.

    Raises:
        ConfigError: `trust_roots` cannot be read, or has no certificate.
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
        self._pool = pool = _CheckedPool(reactor, persistent=keep > 0)
        # Only `policy.retry` decides on retries: a retry of Twisted's pool would not use the budget, and could repeat a
        # call that is not idempotent.
        pool.retryAutomatically = False
        pool.maxPersistentPerHost = keep
        pool.cachedConnectionTimeout = idle_timeout_s  # type: ignore[assignment]
        self._endpoints = _CountedEndpoints(Endpoints(reactor, connect_timeout_s, trust_roots))
        self.agent: IAgent = agent or Agent.usingEndpointFactory(reactor, self._endpoints, pool)

    def endpoint(self, origin: bytes) -> IStreamClientEndpoint:
        """Return an endpoint that opens new connections to an origin; their sockets are counted, but not pooled."""
        return self._endpoints.endpointForURI(URI.fromBytes(origin))

    def flush(self) -> bool:
        """Write the requests that were submitted on reused connections since the last call.

        Without this call, the reactor would write the requests one turn later, after reading bytes that arrived
        meanwhile.

        Returns:
            Whether all requests were written. A request is not written, and will fail, if bytes had arrived on its
            connection.
        """
        return self._pool.flush()

    def close(self) -> Deferred[Any]:
        """Close every connection; call this when no request is running.

        Returns:
            A Deferred that fires when every socket is closed.
        """
        # `closeCachedConnections` removes the connections from the pool, but over TLS it waits for the peer, which may
        # be silent. So `abort` follows.
        closing: Deferred[Any] = self._pool.closeCachedConnections()  # type: ignore[no-untyped-call]
        self._endpoints.abort()
        return closing.addBoth(lambda _: self._endpoints.when_gone())


class _CheckedPool(HTTPConnectionPool):
    """Twisted's pool, except that it never returns an idle connection on which bytes have arrived."""

    def __init__(self, reactor: Reactor, *, persistent: bool) -> None:
        super().__init__(reactor, persistent)  # type: ignore[no-untyped-call]
        self._taken: list[_CountingProtocol] = []

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:  # noqa: N802
        """Return a connection for a request (`HTTPConnectionPool`)."""
        return Deferred.fromCoroutine(self._usable(key, endpoint))

    def flush(self) -> bool:
        """Flush the connections taken from the pool since the last call; return whether all requests were written."""
        taken, self._taken = self._taken, []
        written = [connection.flush() for connection in taken]
        return all(written)

    def _putConnection(self, key: Hashable, connection: Any) -> None:  # noqa: N802
        """Keep a connection after a response; close it if its request is not completely written (`HTTPConnectionPool`).

        A server that answers before it has read the whole request may parse the rest of the body as the next request.
        """
        counted = _counted(connection.transport)
        if counted is not None and counted.is_writing:
            counted.abort()
        else:
            super()._putConnection(key, connection)  # type: ignore[no-untyped-call]

    async def _usable(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Any:
        while True:
            connection = await super().getConnection(key, endpoint)
            counted = _counted(connection.transport)
            if counted is None or not counted.was_used:
                # A new connection needs no check: the response parser rejects bytes that come before the request.
                if counted is not None:
                    counted.was_used = True
                return connection
            if counted.is_usable():
                self._taken.append(counted)
                return connection
            counted.abort()


@implementer(IAgentEndpointFactory)
class _CountedEndpoints:
    """Creates endpoints for URIs (`IAgentEndpointFactory`), and counts their connections."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._open: dict[_CountingProtocol, None] = {}
        self._waiters: list[Deferred[None]] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint for a URI (`IAgentEndpointFactory`)."""
        host = uri.host.decode("ascii")
        counted = _CountedEndpoint(self._endpoints.tcp(host, uri.port), self)
        return self._endpoints.secured(counted, host, uri.port) if uri.scheme == b"https" else counted

    def opened(self, connection: _CountingProtocol) -> None:
        """Count an opened socket."""
        self._open[connection] = None

    def lost(self, connection: _CountingProtocol) -> None:
        """Count a lost socket, and fire the waiters when the last open socket is lost."""
        self._open.pop(connection, None)
        if not self._open:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def abort(self) -> None:
        """Abort every connection, without waiting for the peer."""
        for connection in list(self._open):
            connection.abort()

    def when_gone(self) -> Deferred[None]:
        """Return a Deferred that fires when no socket is open."""
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
    was_used = False
    _has_input: Callable[[], object] | None = None

    def is_usable(self) -> bool:
        """Return whether the connection is not being closed and nothing has arrived since the last response."""
        return not (self.disconnecting or (self._has_input is not None and self._has_input()))

    @property
    def is_writing(self) -> bool:
        """Whether the socket has not accepted all bytes of the request yet."""
        transport: Any = self.transport
        # A Twisted transport has these two buffers, and no method that returns whether they are empty.
        return isinstance(transport, SocketTransport) and bool(
            transport._tempDataBuffer or len(transport.dataBuffer) > transport.offset  # noqa: SLF001
        )

    def flush(self) -> bool:
        """Write the request now, unless bytes have arrived; the reactor reports a write error later."""
        if not self.is_usable():
            self.abort()
            return False
        if isinstance(self.transport, SocketTransport) and self.transport.connected:
            self.transport.doWrite()
        return True

    def abort(self) -> None:
        self.transport.abortConnection()

    def makeConnection(self, transport: Any) -> None:
        self.factory.count.opened(self)
        if isinstance(transport, SocketTransport):
            self._has_input = input_probe(transport.getHandle())
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


def _counted(transport: Any) -> _CountingProtocol | None:
    """Return the counted connection under a transport, directly or below a TLS layer; `None` if it is not counted."""
    while transport is not None and not isinstance(transport, _CountingProtocol):
        transport = getattr(transport, "transport", None)
    return transport
