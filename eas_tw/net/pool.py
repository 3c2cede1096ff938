"""The persistent connections of one instance, and the line of calls that wait for one.

Acts on `policy.pooling`: which connection a call gets, which are kept. Calls in line are served in order; whoever comes
free first, a kept connection or a new one, serves the first in line. Knows no service and no retry.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Protocol

from twisted.internet.protocol import ClientFactory

from eas_tw.net.connect_errors import connect_outcome
from eas_tw.net.http1 import ClientConnection, Exchange
from eas_tw.policy.instances import Instance
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from eas_tw.policy.pooling import PoolAction, QueueDelay, plan
from eas_tw.telemetry.contained import pass_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, IReactorTCP, IReactorTime
    from twisted.python.failure import Failure

    from eas_tw.config import ClientConfig
    from eas_tw.net.dialer import Dialer
    from eas_tw.net.flush import Flusher

    class Reactor(IReactorTCP, IReactorTime):
        """What the data plane needs of a reactor."""


class Dispatchable(Exchange, Protocol):
    """What the pool queues: an attempt, or what listens in its place."""

    @property
    def deadline(self) -> float:
        """When it must be over, in the reactor's seconds."""

    def dispatch(self, connection: ClientConnection, host: bytes) -> None:
        """Send on this connection, now; `host` goes into the Host header."""


class _Dial(ClientFactory):
    """One connection being opened."""

    noisy = False

    def __init__(self, pool: Pool, began: float) -> None:
        self._pool = pool
        self.began = began

    def connect(self) -> None:
        """Its turn has come (`Dialer`)."""
        self._pool.connect(self)

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection | None:  # noqa: ARG002
        return self._pool.dial_answered(self)

    def startedConnecting(self, connector: IConnector) -> None:
        self._pool.dial_started(self, connector)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002
        self._pool.dial_failed(self, connect_outcome(reason.value))


class Pool:
    """Connections to one instance, at most `max_connections_per_instance`."""

    def __init__(
        self,
        reactor: Reactor,
        instance: Instance,
        config: ClientConfig,
        flusher: Flusher,
        dialer: Dialer,
        on_gone: Callable[[Pool], None],
    ) -> None:
        self.waiting: OrderedDict[Dispatchable, None] = OrderedDict()
        self.address = instance.address
        # A zone means something on this machine only (RFC 6874 §4).
        self.host = Instance(instance.ip.partition("%")[0], instance.port).address.encode()
        self._reactor = reactor
        self._instance = instance
        self._config = config
        self._flusher = flusher
        self._dialer = dialer
        self._on_gone = on_gone
        self._idle: deque[ClientConnection] = deque()
        self._open: dict[ClientConnection, None] = {}
        self._dials: dict[_Dial, IConnector | None] = {}
        self._last_opened = -math.inf
        self._idle_timer: IDelayedCall | None = None
        self._queue_delay = QueueDelay()
        self._is_retired = False

    def __repr__(self) -> str:
        return (
            f"<Pool {self._instance.address} open={len(self._open)} idle={len(self._idle)} "
            f"opening={len(self._dials)} waiting={len(self.waiting)}{' retired' if self._is_retired else ''}>"
        )

    @property
    def connections(self) -> int:
        """Established connections."""
        return len(self._open)

    @property
    def is_gone(self) -> bool:
        """Whether every socket has reported its loss and nobody waits."""
        return not (self._open or self._dials or self.waiting)

    # -- what calls ask for

    def submit(self, call: Dispatchable, *, fresh: bool) -> None:
        """Dispatch the call on a connection, now or when its turn in the line comes.

        Args:
            call: Gets `dispatch` with the connection, or `broke`.
            fresh: Whether a connection that sat idle will not do.
        """
        idle = self._idle
        if idle and not fresh:
            call.dispatch(idle.pop(), self.host)
            return
        if self.waiting and (crowd := self._crowd(call)):
            call.broke(Outcome(AttemptStatus.OVERLOADED, detail=crowd))
            return
        action = plan(
            idle=len(idle),
            open_or_opening=len(self._open) + len(self._dials),
            opening=len(self._dials),
            waiting=len(self.waiting),
            limit=self._config.max_connections_per_instance,
            fresh=fresh,
        )
        self.waiting[call] = None
        if action is PoolAction.REPLACE:
            idle.popleft().close()
        if action in (PoolAction.CONNECT, PoolAction.REPLACE):
            self._dial()

    def withdraw(self, call: Dispatchable) -> bool:
        """Take a call out of the line; whether nothing of it was sent, which is always so."""
        self.waiting.pop(call, None)
        return True

    def hand_over(self, call: Dispatchable, heir: Dispatchable) -> None:
        """Take a call out of the line, and let another wait at its end."""
        self.waiting.pop(call, None)
        self.waiting[heir] = None

    def heard_since(self, at: float) -> bool:
        """Whether a connection has become free since then, which the answer to a request makes it."""
        return self._queue_delay.has_turned_since(at) or any(
            connection.used > 0 and connection.idle_since > at for connection in self._open
        )

    @property
    def is_opening(self) -> bool:
        """Whether a connection is being opened."""
        return bool(self._dials)

    def retire(self) -> None:
        """The instance has left the list: nothing new, idle connections close, requests in flight finish."""
        self._is_retired = True
        self._close_idle()
        for dial, connector in list(self._dials.items()):
            if connector is not None:
                connector.stopConnecting()
            elif self._dialer.withdraw(dial):
                del self._dials[dial]
        self._fail_waiting(Outcome(AttemptStatus.INSTANCE_REMOVED, detail="the instance left the list"))
        self._report_if_gone()

    # -- what connections report

    def connect(self, dial: _Dial) -> None:
        """Open a connection, unless all calls that waited have been served or are gone meanwhile."""
        if not self.waiting:
            del self._dials[dial]
            return
        instance = self._instance
        dial.began = self._reactor.seconds()
        try:
            self._reactor.connectTCP(instance.ip, instance.port, dial, timeout=self._config.connect_timeout_s)
        except BaseException as error:  # noqa: BLE001  an address Twisted cannot even begin with, such as fe80::1%nosuch
            # In a turn of its own, as every other connection that fails: each call in line would nest one deeper here.
            later = self._reactor.callLater
            later(0, self.dial_failed, dial, connect_outcome(error))
            pass_on(later, error)

    def dial_started(self, dial: _Dial, connector: IConnector) -> None:
        """A connection is being opened."""
        self._dials[dial] = connector

    def dial_answered(self, dial: _Dial) -> ClientConnection:
        """A connection has been opened; its protocol."""
        self._dials.pop(dial, None)
        self._last_opened = self._reactor.seconds()
        config = self._config
        connection = ClientConnection(
            self, self._flusher, max_head_bytes=config.max_head_bytes, max_body_bytes=config.max_response_bytes
        )
        self._open[connection] = None
        return connection

    def dial_failed(self, dial: _Dial, outcome: Outcome) -> None:
        """A connection could not be opened: the first in line fails, and all of it when the instance has no other.

        Unless it timed out and another was opened after it was begun: the instance is back.
        """
        self._dials.pop(dial, None)
        is_old_news = outcome.attempt_status is AttemptStatus.CONNECT_TIMEOUT and self._last_opened > dial.began
        if self.waiting and not is_old_news:
            first, _ = self.waiting.popitem(last=False)
            alone = not self._open and not self._dials
            if alone:
                self._fail_waiting(outcome)
            first.broke(outcome)
        self._dial_for_waiting()
        self._report_if_gone()

    def connection_made(self, connection: ClientConnection) -> None:
        """A connection can take its first request."""
        self.connection_free(connection)

    def connection_free(self, connection: ClientConnection) -> None:
        """An exchange is over and the connection can be used again: it serves the first in line, or is kept."""
        if self.waiting:
            self._serve(connection)
        elif self._is_retired:
            connection.close()
        else:
            connection.idle_since = self._reactor.seconds()
            self._idle.append(connection)
            if self._idle_timer is None:
                self._idle_timer = self._reactor.callLater(self._config.idle_timeout_s, self._close_expired)

    def connection_lost(self, connection: ClientConnection) -> None:
        """A socket is gone."""
        self._open.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        self._dial_for_waiting()
        self._report_if_gone()

    # -- how it acts

    def _crowd(self, call: Dispatchable) -> str:
        """Why it would be of no use to wait; empty if it may be."""
        waiting = len(self.waiting)
        if waiting >= self._config.max_waiting:
            return f"{waiting} calls wait already"
        wait_s, left_s = self._queue_delay.wait_s(waiting), call.deadline - self._reactor.seconds()
        return f"{waiting} calls wait for about {wait_s:.1f} s, {left_s:.1f} s are left" if wait_s > left_s else ""

    def _serve(self, connection: ClientConnection) -> None:
        call, _ = self.waiting.popitem(last=False)
        if self.waiting:
            self._queue_delay.turn(self._reactor.seconds())
        else:
            self._queue_delay.pause()
        call.dispatch(connection, self.host)

    def _close_expired(self) -> None:
        self._idle_timer = None
        oldest = self._reactor.seconds() - self._config.idle_timeout_s
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        if self._idle:
            self._idle_timer = self._reactor.callLater(self._idle[0].idle_since - oldest, self._close_expired)

    def _close_idle(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        while self._idle:
            self._idle.popleft().close()

    def _dial(self) -> None:
        dial = _Dial(self, self._reactor.seconds())
        self._dials[dial] = None
        self._dialer.submit(dial)

    def _dial_for_waiting(self) -> None:
        """Connections that died or failed leave calls in line that nothing else would serve."""
        room = self._config.max_connections_per_instance - len(self._open) - len(self._dials)
        for _ in range(min(room, len(self.waiting) - len(self._dials))):
            self._dial()

    def _fail_waiting(self, outcome: Outcome) -> None:
        waiting = list(self.waiting)
        self.waiting.clear()
        for call in waiting:
            call.broke(outcome)

    def _report_if_gone(self) -> None:
        if self._is_retired and self.is_gone:
            self._on_gone(self)
