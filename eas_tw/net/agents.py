"""The HTTP agent of the gateway: Twisted's, without its automatic retry, and with a count of its sockets.

The sockets are counted because cancelling a request only begins to close its connection, while `close()` promises that
every socket has reported its loss. Idle connections are checked before use, because Twisted's pool returns one even if
bytes have arrived on it, and the agent would read these bytes as the response to the next request.
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
        reactor: Clock and network.
        connect_timeout_s: Maximum time for opening a connection, in seconds.
        keep: Maximum number of idle connections for each host; 0 for none.
        idle_timeout_s: Seconds after which an idle connection is closed.
        trust_roots: PEM file with the certificate authorities to trust; `None` for those of the platform.
        agent: The user's own agent, whose sockets are not counted; `None` to create one of Twisted's.

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
        """Return an endpoint for connections to an origin outside the agent's pool; their sockets are counted, too."""
        return self._endpoints.endpointForURI(URI.fromBytes(origin))

    def flush(self) -> bool:
        """Write the requests that were submitted on reused connections since the last call.

        Otherwise the reactor would write them one turn later, after it has read bytes that arrived meanwhile.

        Returns:
            Whether all were written. A request on whose connection bytes had arrived is not written, and will fail.
        """
        return self._pool.flush()

    def close(self) -> Deferred[Any]:
        """Close every connection; call this when no request is running.

        Returns:
            Fires when every socket is closed.
        """
        # Removes the connections from the pool. Alone it is not enough: over TLS it waits for the peer, which may be
        # silent, so `abort` follows.
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
        """Flush the connections taken since the last call; return whether all could be written."""
        taken, self._taken = self._taken, []
        written = [connection.flush() for connection in taken]
        return all(written)

    def _putConnection(self, key: Hashable, connection: Any) -> None:  # noqa: N802
        """Keep a connection after a complete response, unless its request is half written (`HTTPConnectionPool`).

        A server that answers before it has read the whole request may take the rest of the body for the next request.
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
        """Count a lost socket, and fire the waiters when it was the last."""
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
        # The two buffers of Twisted's transports, which have no method that tells whether they are empty.
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
    """Return the counted connection under a transport, which may be below a TLS layer; `None` if there is none."""
    while transport is not None and not isinstance(transport, _CountingProtocol):
        transport = getattr(transport, "transport", None)
    return transport
