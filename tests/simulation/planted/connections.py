"""Bugs of connections and their pools."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone

from eas_tw.net import pool
from eas_tw.net.http1 import ClientConnection
from eas_tw.net.pool import Pool
from eas_tw.policy.outcomes import Outcome
from eas_tw.policy.pooling import PoolAction
from tests.simulation.planted.bugs import Patch, bug


@bug("response-matches-request connection-use failure-explained nothing-left cancelled-is-over")
def timed_out_connection_returned_to_the_pool(patch: Patch) -> None:
    def abandon(self: ClientConnection) -> None:
        self._exchange = None
        self._owner.connection_free(self)

    patch(ClientConnection, "abandon", abandon)


@bug("call-ends-once connection-use failure-explained nothing-left")
def dead_connection_kept(patch: Patch) -> None:
    def connection_lost(self: Pool, connection: ClientConnection) -> None:
        self._open.pop(connection, None)
        self._dial_for_waiting()
        self._report_if_gone()

    patch(Pool, "connection_lost", connection_lost)


@bug("connection-use nothing-left", "overload", 4)
def busy_connection_reused(patch: Patch) -> None:
    submit = Pool.submit

    def shared(self: Pool, call: Any, *, fresh: bool) -> None:
        if self._open and not fresh:
            call.dispatch(next(iter(self._open)), self.host)
        else:
            submit(self, call, fresh=fresh)

    patch(Pool, "submit", shared)


@bug("connection-use", "overload", 4)
def pool_without_limit(patch: Patch) -> None:
    patch(pool, "plan", lambda **_: PoolAction.CONNECT)


@bug("failure-explained exact-shares", seeds=100)
def queued_calls_dropped_when_a_connect_fails(patch: Patch) -> None:
    def dial_failed(self: Pool, dial: Any, outcome: Outcome) -> None:
        self._dials.pop(dial, None)
        self._report_if_gone()

    patch(Pool, "dial_failed", dial_failed)


@bug("response-matches-request failure-explained stream-bytes", seeds=100)
def truncated_body_accepted(patch: Patch) -> None:
    lost = ClientConnection.connectionLost

    def take(self: ClientConnection, reason: Any) -> None:
        if self._exchange is not None and self._head_done:
            self._until_close = True
            reason = type(reason)(ConnectionDone())
        lost(self, reason)

    patch(ClientConnection, "connectionLost", take)


@bug("response-matches-request", "calm", 2)
def body_of_the_previous_response_kept(patch: Patch) -> None:
    begin = ClientConnection.on_message_begin

    def keep(self: ClientConnection) -> None:
        before = getattr(self, "_body", [])
        begin(self)
        self._body = before

    patch(ClientConnection, "on_message_begin", keep)


@bug("nothing-left", "calm", 2)
def idle_timer_left_at_close(patch: Patch) -> None:
    def close_idle(self: Pool) -> None:
        while self._idle:
            self._idle.popleft().close()

    patch(Pool, "_close_idle", close_idle)


@bug("recovers-after-heal nothing-left", "calm", 2)
def idle_connections_left_at_close(patch: Patch) -> None:
    patch(Pool, "_close_idle", lambda self: self._idle_timer and self._idle_timer.cancel())
