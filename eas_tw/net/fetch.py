"""HTTP GET for discovery, with limits on time and size, and without redirects.

The connections are those of the data plane (`net.http1`). So replies of the control plane are checked like responses
of instances, and a client with direct connections does not import a second HTTP library. Every failure is raised as a
`DiscoveryReplyRejected` with a reason, so the poller has to handle only one exception.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import TimeoutError  # noqa: A004
from twisted.internet.protocol import Factory

from eas_tw.net.connect_errors import local_shortage
from eas_tw.net.endpoints import Endpoints
from eas_tw.net.flush import Flusher
from eas_tw.net.http1 import ClientConnection
from eas_tw.policy.instances import BadStatusError, DiscoveryReplyRejected, RejectReason
from eas_tw.policy.outcomes import OK_STATUS, AttemptStatus

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from twisted.internet.interfaces import IAddress, IDelayedCall
    from twisted.python.failure import Failure

    from eas_tw.config import ClientConfig
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.outcomes import Outcome

_PORTS = {"http": 80, "https": 443}
_AS_IT_IS = "/%:=&?~#+!$,;'@()*[]"


class DirectFetcher:
    """Fetches documents within limits of time and size.

    Each document is fetched on a new connection, because polls are seconds apart, and an idle connection would often be
    stale.

    Args:
        reactor: The reactor, for timers and connections.
        config: The settings, of which `discovery_timeout_s` (from the call of `get` to the last byte received),
            `max_discovery_bytes`, `max_head_bytes` and `trust_roots` are used.
    """

    def __init__(self, reactor: Reactor, config: ClientConfig) -> None:
        self.reactor = reactor
        self.timeout_s = config.discovery_timeout_s
        self._max_head_bytes = config.max_head_bytes
        self._max_body_bytes = config.max_discovery_bytes
        self._endpoints = Endpoints(reactor, config.discovery_timeout_s, config.trust_roots)
        self._flusher = Flusher(reactor)
        self._open: dict[ClientConnection, None] = {}
        self._waiters: list[Deferred[None]] = []

    def get(self, url: str) -> Deferred[bytes]:
        """Fetch the document at `url`.

        Returns:
            A Deferred that fires with the document. It fails with `BadStatusError` when the status is not 200, and with
            another `DiscoveryReplyRejected` when no complete document arrives. Cancelling it closes the connection.
        """
        try:
            target = _target(url)
        except ValueError as error:
            # An address server may list text that is not an address.
            return fail(
                DiscoveryReplyRejected(RejectReason.CONNECTION, f"no reply: {url!r} is no URL of a document: {error}")
            )
        endpoint = self._endpoints.tcp(target.host, target.port)
        if target.is_secured:
            endpoint = self._endpoints.secured(endpoint, target.host, target.port)
        getting = _Get(self, target.head)
        return getting.begin(endpoint.connect(getting))

    def close(self) -> Deferred[None]:
        """Close all connections; return a Deferred that fires when every socket is closed."""
        for connection in list(self._open):
            connection.abandon()
        if not self._open:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def connection_for(self, getting: _Get) -> ClientConnection:
        """Create the protocol of a connection that has been opened."""
        connection = ClientConnection(
            getting, self._flusher, max_head_bytes=self._max_head_bytes, max_body_bytes=self._max_body_bytes
        )
        self._open[connection] = None
        return connection

    def lost(self, connection: ClientConnection) -> None:
        """Remove a closed connection, and fire the waiters if no other connection is open."""
        self._open.pop(connection, None)
        if not self._open:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)


class _Get(Factory):
    """One GET request; the factory and owner of its connection, and the only exchange on it."""

    on_head = None
    noisy = False

    def __init__(self, fetcher: DirectFetcher, head: bytes) -> None:
        self._fetcher = fetcher
        self._head = head
        self._done: Deferred[bytes] | None = None
        self._connecting: Deferred[Any] | None = None
        self._connection: ClientConnection | None = None
        self._timer: IDelayedCall | None = None

    def begin(self, connecting: Deferred[Any]) -> Deferred[bytes]:
        """Start the timer for a connection that is being opened; return a Deferred that fires with the document."""
        done = self._done = Deferred(self._cancelled)
        self._timer = self._fetcher.reactor.callLater(self._fetcher.timeout_s, self._out_of_time)
        self._connecting = connecting
        connecting.addErrback(self._not_connected)
        return done

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:  # noqa: ARG002
        """Build the protocol of the open connection (`IProtocolFactory`)."""
        self._connection = self._fetcher.connection_for(self)
        return self._connection

    # -- reports of the connection

    def connection_made(self, connection: ClientConnection) -> None:
        """Send the request."""
        self._connecting = None
        connection.send(self._head, b"", self)

    def connection_free(self, connection: ClientConnection) -> None:
        """Close the connection, even if the server would keep it open."""
        connection.close()

    def connection_lost(self, connection: ClientConnection) -> None:
        """Remove the closed connection."""
        self._connection = None
        self._fetcher.lost(connection)

    def answered(self, status: int, head: bytes, body: bytes) -> None:  # noqa: ARG002
        """Finish with the body of a complete reply, or with an error if its status is not 200."""
        self._end(body if status == OK_STATUS else BadStatusError(status))

    def broke(self, outcome: Outcome) -> None:
        """Finish with the reason why no complete reply will arrive."""
        reason = (
            RejectReason.VIOLATION if outcome.attempt_status is AttemptStatus.VIOLATION else RejectReason.CONNECTION
        )
        self._end(DiscoveryReplyRejected(reason, f"no reply: {outcome.detail or outcome.attempt_status}"))

    # -- internals

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        is_late = failure.check(TimeoutError) or getattr(failure.value, "is_late", False)
        reason = RejectReason.TIMEOUT if is_late else RejectReason.CONNECTION
        detail = local_shortage(failure.value) or failure.getErrorMessage()
        self._end(DiscoveryReplyRejected(reason, f"no reply: {detail}"))

    def _out_of_time(self) -> None:
        self._give_up(RejectReason.TIMEOUT, f"no whole reply within {self._fetcher.timeout_s:g} s")

    def _cancelled(self, _: Deferred[bytes]) -> None:
        self._give_up(RejectReason.CONNECTION, "no reply: cancelled")

    def _give_up(self, reason: RejectReason, detail: str) -> None:
        # The result is set first, because an abandoned connection may report its loss immediately, and only the first
        # result counts.
        self._end(DiscoveryReplyRejected(reason, detail))
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._connection is not None:
            self._connection.abandon()

    def _end(self, result: bytes | DiscoveryReplyRejected) -> None:
        """Finish with the document or the error; later results are ignored."""
        done, self._done = self._done, None
        if done is None:
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if isinstance(result, bytes):
            done.callback(result)
        else:
            done.errback(result)


class _Target(NamedTuple):
    """A parsed URL: the address to connect to, and the request to send."""

    host: str
    port: int
    is_secured: bool
    head: bytes


@lru_cache(maxsize=64)
def _target(url: str) -> _Target:
    """Parse a URL; cached, since a client fetches the same few URLs repeatedly.

    Raises:
        ValueError: The text is not a URL with a host and the scheme http or https.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError("its scheme is neither http nor https")
    if not parts.hostname:
        raise ValueError("it has no host")
    return _Target(parts.hostname, parts.port or _PORTS[parts.scheme], parts.scheme == "https", _head(parts))


def _head(parts: SplitResult) -> bytes:
    """Return the head of the request, with `Accept-Encoding: identity`, because replies are not decompressed."""
    target = quote(f"{parts.path}?{parts.query}" if parts.query else parts.path, safe=_AS_IT_IS)
    authority = parts.netloc.rpartition("@")[2]
    lines = (f"GET {target} HTTP/1.1", f"Host: {authority}", "Accept-Encoding: identity", "Connection: close", "", "")
    return "\r\n".join(lines).encode("ascii")
