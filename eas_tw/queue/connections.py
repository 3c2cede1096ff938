"""The connections of a watch over WebSocket: each goes to an instance chosen anew by the client's balancer.

A connection reports to its watch when it is open, the bytes of each frame, and how it ended. Its end is recorded in the
health of its instance, like the end of a stream.
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
"""The 4xx statuses for which another try may help; the service would answer the others in the same way again."""
_NO_UPGRADE = range(200, 300)


@frozen
class WatchTarget:
    """The request that begins a watch: path and query, and the names and values of its header lines."""

    target: str
    headers: tuple[tuple[str, str], ...]


@frozen
class WatchEnd:
    """How a connection of a watch ended.

    Attributes:
        instance: Its instance, or the gateway; `None` if there was none to choose.
        outcome: What happened.
        error: The error for the caller, if another connection would end in the same way; `None` if the watch shall
            connect again.
        may_be_complete: Whether the service has ended the watch in order. It does so at the end of the stream of
            frames, but also for a watch that another one of the same consumer replaces.
    """

    instance: Instance | None
    outcome: Outcome
    error: EasError | None = None
    may_be_complete: bool = False


class WatchOwner(Protocol):
    """Receives the reports of a connection; after `close` or `abort` it receives only `connection_gone`."""

    def connection_opened(self, instance: Instance) -> None:
        """Receive that the service has accepted the watch."""

    def connection_received(self, instance: Instance, frames: Sequence[bytes]) -> None:
        """Receive the bytes of one or more frames that have arrived together."""

    def connection_ended(self, end: WatchEnd) -> None:
        """Receive how the connection ended."""

    def connection_gone(self) -> None:
        """Receive that the connection holds no socket and no timer any more; called once."""


class WatchConnection(Protocol):
    """A connection of a watch that is opening or open."""

    def pause(self) -> None:
        """Stop reading until `resume`."""

    def resume(self) -> None:
        """Continue reading."""

    def close(self) -> None:
        """Close the connection in order."""

    def abort(self) -> None:
        """Close the connection at once."""


@define(eq=False)
class _Begun:
    """The attempt to open a watch, as the fleet records it."""

    instance: Instance
    info: CallInfo
    began: float


class WebSocketConnector:
    """Opens the connections of one watch.

    Args:
        reactor: Clock and network.
        fleet: Chooses the instances, and records how the connections end.
        config: The client's settings.
    """

    def __init__(self, reactor: Reactor, fleet: Fleet, config: ClientConfig) -> None:
        self.reactor = reactor
        self.fleet = fleet
        self.config = config
        self.tried: tuple[Key, ...] = ()

    def connect(self, asked: WatchTarget, owner: WatchOwner) -> WatchConnection:
        """Begin a connection; nothing is reported before this method returns."""
        return _WebSocketWatch(self, asked, owner)


class _WebSocketWatch:
    """One connection over WebSocket (`WebSocketOwner`)."""

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

    # -- reports of the socket

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
            error = BodyError(outcome.detail)  # the next connection would begin with the same frame
        self._tell(WatchEnd(instance, outcome, error, may_be_complete=close_code == NORMAL_CLOSURE))

    def socket_lost(self) -> None:
        self._gone()

    # -- internals

    def _start(self) -> None:
        self._starting = None
        connector = self._connector
        now = connector.reactor.seconds()
        if not connector.fleet.has_well(connector.tried):
            connector.tried = ()  # an instance that has lost the watch is better than an ejected one
        info = NO_CALL.at(1, now)
        instance = connector.fleet.choose(Selection(connector.tried, (), info), now)
        if instance is None:
            self._tell(WatchEnd(None, Outcome(AttemptStatus.INSTANCE_REMOVED, detail="the list has no instance")))
            self._gone()
            return
        self._begun = _Begun(instance, info, now)
        config = connector.config
        self._socket = WebSocketConnection(
            connector.reactor,
            self,
            connector.fleet.host_of(instance),
            self._asked.target,
            self._asked.headers,
            max_message_bytes=config.max_response_bytes,
            open_within_s=config.timeout_s,
        )
        self._cancel = connector.fleet.connect(instance, self._socket, self._not_connected)

    def _not_connected(self, outcome: Outcome) -> None:
        self._cancel = None
        self._record(outcome)
        self._tell(WatchEnd(self._begun.instance if self._begun else None, outcome))
        self._gone()

    def _stop_opening(self) -> bool:
        """Cancel an attempt that has no socket yet; return whether there is a socket to close."""
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
            # A missing pong does not prove that the instance is silent: its other connections may work.
            outcome = Outcome(AttemptStatus.RESPONSE_TRUNCATED, detail=outcome.detail)
        if outcome.attempt_status is not AttemptStatus.CANCELLED:
            connector.tried = tuple(dict.fromkeys((*connector.tried, begun.instance.key)))
        recorded = ANSWERED if outcome.attempt_status is AttemptStatus.ANSWERED else outcome
        connector.fleet.record(begun, recorded, latency_s)

    def _tell(self, end: WatchEnd) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.connection_ended(end)


def refusal(instance: Instance | None, outcome: Outcome, body: bytes) -> StatusError | None:
    """Return the error of a refused watch; `None` if another try may succeed."""
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
