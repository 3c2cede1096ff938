"""The connections of a watch over WebSocket. The client's balancer chooses the instance of each connection.

A connection reports to its watch (`WatchOwner`) that it is open, the bytes of each frame, and how it ended. The end of
the connection is recorded in the health of its instance, like the end of a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import define, frozen

from eas_tw.errors import BodyError, StatusError
from eas_tw.net.websocket import NORMAL_CLOSURE, WebSocketConnection
from eas_tw.policy.balancing import NO_CALL
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome
from eas_tw.policy.retry import QUEUE_FULL, RATE_LIMITED
from eas_tw.policy.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.config import ClientConfig
    from eas_tw.errors import EasError
    from eas_tw.net.fleet import Fleet
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.balancing import CallInfo
    from eas_tw.policy.instances import Instance

    Key = tuple[str, int]

_CLIENT_ERRORS = range(400, 500)
_REPEATED = frozenset({408, 425, RATE_LIMITED, QUEUE_FULL})
"""The 4xx statuses after which the watch is tried again; after another 4xx status, a further try would fail as well."""
_NO_UPGRADE = range(200, 300)
_OPEN_SHARE = 0.25
"""Share of `timeout_s` within which an instance must accept the upgrade, if another instance can be tried.

With the whole time, a hung instance would use up the time within which the first connection must be open.
"""


@frozen
class WatchTarget:
    """The request that starts a watch: path and query, and the names and values of its header lines."""

    target: str
    headers: tuple[tuple[str, str], ...]


@frozen
class WatchEnd:
    """The end of a connection of a watch.

    Attributes:
        instance: The instance, or the gateway; `None` if the list had no instance.
        outcome: The outcome of the connection, in the form of the outcome of an attempt.
        error: The error for the caller, if another connection would fail in the same way; `None` if the watch is to
            reconnect.
        may_be_complete: Whether the service has closed the connection normally. It does so at the end of the stream of
            frames, but also when the same consumer starts another watch, which replaces this one.
    """

    instance: Instance | None
    outcome: Outcome
    error: EasError | None = None
    may_be_complete: bool = False


class WatchOwner(Protocol):
    """The receiver of a connection's reports. After `close` or `abort`, only `connection_gone` is called."""

    def connection_opened(self, instance: Instance) -> None:
        """Handle the acceptance of the watch by the service."""

    def connection_received(self, instance: Instance, frames: Sequence[bytes]) -> None:
        """Handle the bytes of one or more frames that have arrived together."""

    def connection_ended(self, end: WatchEnd) -> None:
        """Handle the end of the connection."""

    def connection_gone(self) -> None:
        """Handle the release of the connection's last socket or timer; called once."""


class WatchConnection(Protocol):
    """A connection of a watch that is opening or open."""

    def pause(self) -> None:
        """Stop reading until `resume`."""

    def resume(self) -> None:
        """Continue reading."""

    def close(self) -> None:
        """Close the connection gracefully."""

    def abort(self) -> None:
        """Close the connection immediately."""


@define(eq=False)
class _Begun:
    """An attempt to open a watch, with the attributes that the fleet needs to record it."""

    instance: Instance
    info: CallInfo
    began: float


class WebSocketConnector:
    """Opens the connections of one watch.

    Args:
        reactor: The reactor, for timers and connections.
        fleet: The fleet, which chooses the instances, and records the outcomes of the connections.
        config: The client's settings.

    Attributes:
        tried: The keys of the instances at which connections of this watch failed since a connection was last open.
    """

    def __init__(self, reactor: Reactor, fleet: Fleet, config: ClientConfig) -> None:
        self.reactor = reactor
        self.fleet = fleet
        self.config = config
        self.tried: tuple[Key, ...] = ()

    def connect(self, asked: WatchTarget, owner: WatchOwner) -> WatchConnection:
        """Start a connection; the owner is not called before this method has returned."""
        return _WebSocketWatch(self, asked, owner)


class _WebSocketWatch:
    """A connection of a watch over WebSocket (implements `WatchConnection` and `WebSocketOwner`)."""

    def __init__(self, connector: WebSocketConnector, asked: WatchTarget, owner: WatchOwner) -> None:
        self._connector = connector
        self._asked = asked
        self._owner: WatchOwner | None = owner
        self._gone = owner.connection_gone
        self._socket: WebSocketConnection | None = None
        self._begun: _Begun | None = None
        self._latency_s: float | None = None
        self._cancel: Callable[[], None] | None = None
        self._starting: IDelayedCall | None = connector.reactor.callLater(0, self._start)

    def pause(self) -> None:
        if self._socket is not None:
            self._socket.pause()

    def resume(self) -> None:
        if self._socket is not None:
            self._socket.resume()

    def close(self) -> None:
        self._owner = None
        if self._stop_opening() and self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        self._owner = None
        if self._stop_opening() and self._socket is not None:
            self._socket.abort()

    # -- called by the socket

    def websocket_opened(self) -> None:
        if self._begun is None:
            return
        connector = self._connector
        connector.tried = ()
        self._latency_s = connector.reactor.seconds() - self._begun.began
        connector.fleet.began_to_answer(self._begun)
        if self._owner is not None:
            self._owner.connection_opened(self._begun.instance)

    def websocket_messages(self, messages: Sequence[bytes]) -> None:
        if self._owner is not None and self._begun is not None:
            self._owner.connection_received(self._begun.instance, messages)

    def websocket_ended(self, outcome: Outcome, body: bytes, close_code: int | None) -> None:
        self._record(outcome)
        instance = None if self._begun is None else self._begun.instance
        error: EasError | None = refusal(instance, outcome, body)
        if self._socket is not None and self._socket.has_exceeded_limit:
            error = BodyError(outcome.detail)  # no reconnect: the service would send the same frame first
        self._tell(WatchEnd(instance, outcome, error, may_be_complete=close_code == NORMAL_CLOSURE))

    def socket_lost(self) -> None:
        self._gone()

    # -- internals

    def _start(self) -> None:
        self._starting = None
        connector = self._connector
        now = connector.reactor.seconds()
        if not connector.fleet.has_well(connector.tried):
            # An instance at which a connection failed is better than an ejected instance, but not the last one.
            last = connector.tried[-1:]
            connector.tried = last if connector.fleet.has_well(last) else ()
        info = NO_CALL.at(1, now)
        instance = connector.fleet.choose(Selection(connector.tried, (), info), now)
        if instance is None:
            self._tell(WatchEnd(None, Outcome(AttemptStatus.INSTANCE_REMOVED, detail="the list has no instance")))
            self._gone()
            return
        self._begun = _Begun(instance, info, now)
        config = connector.config
        has_other = connector.fleet.has_well((*connector.tried, instance.key))
        self._socket = WebSocketConnection(
            connector.reactor,
            self,
            connector.fleet.host_of(instance),
            self._asked.target,
            self._asked.headers,
            max_message_bytes=config.max_response_bytes,
            open_within_s=config.timeout_s * (_OPEN_SHARE if has_other else 1.0),
        )
        self._cancel = connector.fleet.connect(instance, self._socket, self._not_connected)

    def _not_connected(self, outcome: Outcome) -> None:
        self._cancel = None
        self._record(outcome)
        self._tell(WatchEnd(self._begun.instance if self._begun else None, outcome))
        self._gone()

    def _stop_opening(self) -> bool:
        """Cancel an attempt that has no socket yet; return whether there may be a socket to close."""
        if self._starting is not None:
            self._starting.cancel()
            self._gone()
            return False
        if self._socket is None or self._socket.is_connected:
            return True
        if self._cancel is not None:
            cancel, self._cancel = self._cancel, None
            cancel()
            self._record(Outcome(AttemptStatus.CANCELLED))
            self._gone()
        return False

    def _record(self, outcome: Outcome) -> None:
        begun, latency_s = self._begun, self._latency_s
        if begun is None:
            return
        connector = self._connector
        if latency_s is not None and outcome.attempt_status is AttemptStatus.UNRESPONSIVE:
            # After the watch was open, a missing pong does not prove that the instance is unresponsive: its other
            # connections may work.
            outcome = Outcome(AttemptStatus.RESPONSE_TRUNCATED, detail=outcome.detail)
        if outcome.attempt_status is not AttemptStatus.CANCELLED:
            key = begun.instance.key
            connector.tried = (*(other for other in connector.tried if other != key), key)
        recorded = ANSWERED if outcome.attempt_status is AttemptStatus.ANSWERED else outcome
        connector.fleet.record(begun, recorded, latency_s)

    def _tell(self, end: WatchEnd) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.connection_ended(end)


def refusal(instance: Instance | None, outcome: Outcome, body: bytes) -> StatusError | None:
    """Return the error of a watch that the service rejected; `None` if another try may succeed.

    Args:
        instance: The instance, or the gateway; `None` if it is unknown.
        outcome: The outcome of the connection.
        body: The body of the response; the error message contains its first 200 bytes.
    """
    status = outcome.status if outcome.attempt_status is AttemptStatus.STATUS else 0
    where = "the service" if instance is None else instance.address
    says = body[:200].decode("utf-8", "replace").strip()
    if status in _NO_UPGRADE:
        said = ': it has no WebSocket here; is it a queue service? If it is, set ClientConfig(queue_watch="http")'
    elif status not in _CLIENT_ERRORS or status in _REPEATED:
        return None
    else:
        said = f"; the response says: {says}" if says else ""
    text = f"{where} refused the watch with status {status}{said}"
    return StatusError(text, status=status, body=body)
