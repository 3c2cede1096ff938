"""The connection pool of one instance, with the queue of calls that wait for a connection.

`policy.pooling` decides when the pool opens or closes a connection for a call. The queue is first in, first out: the
first connection that becomes available, reused or new, gets the first call.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Protocol

from twisted.internet.protocol import ClientFactory

from eas_tw.net.connect_errors import connect_outcome
from eas_tw.net.exchange import Exchange
from eas_tw.net.http1 import ClientConnection
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
    from eas_tw.net.watch import SilenceWatch

    class Reactor(IReactorTCP, IReactorTime):
        """The interfaces that the data plane requires of a reactor."""


class Dispatchable(Exchange, Protocol):
    """An entry of a pool's queue: an attempt, or the watch that replaces it."""

    @property
    def deadline(self) -> float:
        """The time by which the entry must have ended, in the reactor's seconds."""

    def dispatch(self, connection: ClientConnection, host: bytes) -> None:
        """Send the request on this connection now; `host` is the value of the Host header."""


class _Dial(ClientFactory):
    """A connection that is being opened."""

    noisy = False

    def __init__(self, pool: Pool, began: float) -> None:
        self._pool = pool
        self.began = began

    def connect(self) -> None:
        """Start to connect; called by the dialer (`Dial`)."""
        self._pool.connect(self)

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection | None:  # noqa: ARG002
        return self._pool.dial_answered(self)

    def startedConnecting(self, connector: IConnector) -> None:
        self._pool.dial_started(self, connector)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002
        self._pool.dial_failed(self, connect_outcome(reason.value))


class Pool:
    """The connections to one instance, at most `max_connections_per_instance`.

    Args:
        reactor: The reactor, for timers and connections.
        instance: The instance.
        config: The settings, of which the timeouts and limits are used.
        flusher: The object that writes the requests of one turn together.
        dialer: The object that limits how many connections are opened in one turn.
        on_gone: A function that is called with the pool when the pool is retired and its last socket is closed.
    """

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
        # An IPv6 zone has a meaning on this machine only, and must not be sent (RFC 6874 §4).
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
        self._watches: dict[SilenceWatch, None] = {}
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
        """Number of established connections."""
        return len(self._open)

    @property
    def is_gone(self) -> bool:
        """Whether every socket has reported its loss and no call waits."""
        return not (self._open or self._dials or self.waiting)

    # -- called by attempts

    def submit(self, call: Dispatchable, *, fresh: bool) -> None:
        """Dispatch a call on a connection, immediately or when the call is first in the queue.

        Args:
            call: The call, whose `dispatch` is called with the connection, or whose `broke` is called with the failure.
            fresh: Whether the call needs a connection that has not been idle.
        """
        idle = self._idle
        if idle and not fresh:
            # The connection that became idle last is the least likely to have been closed meanwhile.
            call.dispatch(idle.pop(), self.host)
            return
        if self.waiting and (crowd := self._crowd(call)):
            call.broke(Outcome(AttemptStatus.OVERLOADED, detail=crowd))
            return
        action = self._plan(len(self.waiting))
        self.waiting[call] = None
        if action is PoolAction.REPLACE:
            idle.popleft().close()
        if action in (PoolAction.CONNECT, PoolAction.REPLACE):
            self._dial()
        elif action is PoolAction.PREEMPT:
            self._preempt()

    def withdraw(self, call: Dispatchable) -> bool:
        """Remove a call from the queue; return `True`, because nothing of a queued call has been sent."""
        self.waiting.pop(call, None)
        self._report_if_gone()
        return True

    def is_queued(self, call: Dispatchable) -> bool:
        """Return whether a call waits for a connection."""
        return call in self.waiting

    def hand_over(self, call: Dispatchable, heir: Dispatchable) -> None:
        """Remove a call from the queue, and append `heir`."""
        self.waiting.pop(call, None)
        self.waiting[heir] = None

    def watch_began(self, watch: SilenceWatch) -> None:
        """Record that a watch occupies a connection."""
        self._watches[watch] = None
        if self.waiting and self._plan(len(self.waiting) - 1) is PoolAction.PREEMPT:
            self._preempt()

    def watch_ended(self, watch: SilenceWatch) -> None:
        """Record that a watch no longer occupies a connection."""
        self._watches.pop(watch, None)

    def heard_since(self, at: float) -> bool:
        """Return whether a response since `at` has made a connection available."""
        return self._queue_delay.has_turned_since(at) or any(
            connection.used > 0 and connection.idle_since > at for connection in self._open
        )

    @property
    def is_opening(self) -> bool:
        """Whether a connection is being opened."""
        return bool(self._dials)

    def retire(self) -> None:
        """Retire the pool of a removed instance: queued calls fail, idle connections close, running requests finish."""
        self._is_retired = True
        self._close_idle()
        dials = list(self._dials)
        # Before the connections are stopped, because each stopped one would be replaced for calls that are queued.
        self._fail_waiting(Outcome(AttemptStatus.INSTANCE_REMOVED, detail="the instance left the list"))
        for dial in dials:
            connector = self._dials.get(dial)
            if connector is not None:
                connector.stopConnecting()
            elif self._dialer.withdraw(dial):
                self._dials.pop(dial, None)
        self._report_if_gone()

    # -- called by connections and the dialer

    def connect(self, dial: _Dial) -> None:
        """Open a connection, unless no call waits any more."""
        if not self.waiting:
            del self._dials[dial]
            self._report_if_gone()
            return
        instance = self._instance
        dial.began = self._reactor.seconds()
        try:
            self._reactor.connectTCP(instance.ip, instance.port, dial, timeout=self._config.connect_timeout_s)
        except BaseException as error:  # noqa: BLE001  Twisted raises for some addresses, such as fe80::1%nosuch
            # Reported in the next turn, like every failed connection, because each queued call would add a level of
            # recursion here.
            later = self._reactor.callLater
            later(0, self.dial_failed, dial, connect_outcome(error))
            pass_on(later, error)

    def dial_started(self, dial: _Dial, connector: IConnector) -> None:
        """Store the connector of a connection that is being opened."""
        self._dials[dial] = connector

    def dial_answered(self, dial: _Dial) -> ClientConnection:
        """Return the protocol of a connection that has been opened."""
        self._dials.pop(dial, None)
        self._last_opened = self._reactor.seconds()
        config = self._config
        connection = ClientConnection(
            self, self._flusher, max_head_bytes=config.max_head_bytes, max_body_bytes=config.max_response_bytes
        )
        self._open[connection] = None
        return connection

    def dial_failed(self, dial: _Dial, outcome: Outcome) -> None:
        """Fail the first queued call after a failed connection; fail all if no other one is open or being opened.

        A timeout is ignored if another connection was opened after the failed connection was started, because the
        instance works again.
        """
        self._dials.pop(dial, None)
        is_outdated = outcome.attempt_status is AttemptStatus.CONNECT_TIMEOUT and self._last_opened > dial.began
        if self.waiting and not is_outdated:
            first, _ = self.waiting.popitem(last=False)
            alone = not self._open and not self._dials
            if alone:
                self._fail_waiting(outcome)
            first.broke(outcome)
        self._dial_for_waiting()
        self._report_if_gone()

    def connection_made(self, connection: ClientConnection) -> None:
        """Use a new connection for its first request."""
        self.connection_free(connection)

    def connection_free(self, connection: ClientConnection) -> None:
        """Dispatch the first queued call on an available connection; if there is none, store the connection as idle."""
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
        """Remove a closed connection."""
        self._open.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        self._dial_for_waiting()
        self._report_if_gone()

    # -- internals

    def _plan(self, waiting: int) -> PoolAction:
        return plan(
            idle=len(self._idle),
            open_or_opening=len(self._open) + len(self._dials),
            opening=len(self._dials),
            watched=len(self._watches),
            waiting=waiting,
            limit=self._config.max_connections_per_instance,
        )

    def _preempt(self) -> None:
        """Stop the oldest watch; when the loss of its connection is reported, a queued call gets a new connection."""
        next(iter(self._watches)).stop()

    def _crowd(self, call: Dispatchable) -> str:
        """Return the reason why a call cannot be queued; an empty string if the call can be queued."""
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
        """Replace lost or failed connections, if calls are queued for which no connection is being opened."""
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
