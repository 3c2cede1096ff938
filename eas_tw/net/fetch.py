"""One bounded GET of the control plane, on a connection of its own: no redirects, a limit on time and on size.

The connection is that of the data plane (`net.http1`), so a control plane that misbehaves meets the same checks as an
instance that does, and a client of direct connections needs no other HTTP. Every way to fail becomes a
`DiscoveryReplyRejected` with its reason, so the poller has one thing to catch.
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
    """GETs documents within bounds.

    One connection a document: with seconds between two of them a kept one would only be one more thing to go stale.

    Args:
        reactor: Clock and network.
        config: `discovery_timeout_s` from the first packet out to the last byte in, `max_discovery_bytes`,
            `max_head_bytes`, `trust_roots`.
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
        """The document at `url`.

        Returns:
            Fires with it. Fails with a `DiscoveryReplyRejected` when no whole document with status 200 came, as
            `BadStatusError` when the status was another. Cancelling it closes the connection.
        """
        try:
            target = _target(url)
        except ValueError as error:
            # An address server has named something that is no address.
            return fail(DiscoveryReplyRejected(RejectReason.CONNECTION, f"no reply: {url!r} is no URL: {error}"))
        endpoint = self._endpoints.tcp(target.host, target.port)
        if target.is_secured:
            endpoint = self._endpoints.secured(endpoint, target.host, target.port)
        getting = _Get(self, target.head)
        return getting.begin(endpoint.connect(getting))

    def close(self) -> Deferred[None]:
        """Cut what is open; fires when every socket is gone."""
        for connection in list(self._open):
            connection.abandon()
        if not self._open:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def connection_for(self, getting: _Get) -> ClientConnection:
        """A connection has been opened."""
        connection = ClientConnection(
            getting, self._flusher, max_head_bytes=self._max_head_bytes, max_body_bytes=self._max_body_bytes
        )
        self._open[connection] = None
        return connection

    def lost(self, connection: ClientConnection) -> None:
        """A socket is gone."""
        self._open.pop(connection, None)
        if not self._open:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)


class _Get(Factory):
    """A document on its way: opens a connection, owns it, and is the one exchange on it."""

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
        """The connection is being opened; fires with the document."""
        done = self._done = Deferred(self._cancelled)
        self._timer = self._fetcher.reactor.callLater(self._fetcher.timeout_s, self._out_of_time)
        self._connecting = connecting
        connecting.addErrback(self._not_connected)
        return done

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:  # noqa: ARG002
        """It is open (`IProtocolFactory`)."""
        self._connection = self._fetcher.connection_for(self)
        return self._connection

    # -- what its connection reports

    def connection_made(self, connection: ClientConnection) -> None:
        """It takes the request."""
        self._connecting = None
        connection.send(self._head, b"", self)

    def connection_free(self, connection: ClientConnection) -> None:
        """The server would keep it."""
        connection.close()

    def connection_lost(self, connection: ClientConnection) -> None:
        """The socket is gone."""
        self._connection = None
        self._fetcher.lost(connection)

    def answered(self, status: int, head: bytes, body: bytes) -> None:  # noqa: ARG002
        """A whole reply came."""
        self._end(body if status == OK_STATUS else BadStatusError(status))

    def broke(self, outcome: Outcome) -> None:
        """No whole reply will come."""
        reason = (
            RejectReason.VIOLATION if outcome.attempt_status is AttemptStatus.VIOLATION else RejectReason.CONNECTION
        )
        self._end(DiscoveryReplyRejected(reason, f"no reply: {outcome.detail or outcome.attempt_status}"))

    # -- how it ends

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
        # In this order: a connection that is given up may say so at once.
        self._end(DiscoveryReplyRejected(reason, detail))
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._connection is not None:
            self._connection.abandon()

    def _end(self, result: bytes | DiscoveryReplyRejected) -> None:
        """The document, or why there is none; what comes after it is of no interest."""
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
    """What a URL comes to: where to connect, and the request."""

    host: str
    port: int
    is_secured: bool
    head: bytes


@lru_cache(maxsize=64)
def _target(url: str) -> _Target:
    """Read a URL; the same few are asked for again and again.

    Raises:
        ValueError: It is none.
    """
    parts = urlsplit(url)
    return _Target(parts.hostname or "", parts.port or _PORTS[parts.scheme], parts.scheme == "https", _head(parts))


def _head(parts: SplitResult) -> bytes:
    """The request: of a reply that is compressed all the same nothing would be understood."""
    target = quote(f"{parts.path}?{parts.query}" if parts.query else parts.path, safe=_AS_IT_IS)
    authority = parts.netloc.rpartition("@")[2]
    lines = (f"GET {target} HTTP/1.1", f"Host: {authority}", "Accept-Encoding: identity", "Connection: close", "", "")
    return "\r\n".join(lines).encode("ascii")
