"""Bugs of idle and closing connections, and of closing clients."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.error import ConnectionLost

from eas_tw.net.http1 import ClientConnection
from eas_tw.net.pool import Pool
from eas_tw.net.upstream import Pools
from tests.simulation.planted.bugs import Patch, bug


@bug("idle-timeout", "hour", 20)
def idle_timer_is_not_armed_again(patch: Patch) -> None:
    """The timer closes the idle connections that have expired, and is not armed again for those that expire later."""

    def close_expired(self: Pool) -> None:
        oldest = self._reactor.seconds() - self._config.idle_timeout_s
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        if not self._idle:
            self._idle_timer = None

    patch(Pool, "_close_expired", close_expired)


@bug("idle-bytes", seeds=100)
def idle_bytes_ignored(patch: Patch) -> None:
    """The client discards bytes that arrive on an idle connection, and keeps the connection."""
    received = ClientConnection.dataReceived

    def ignore(self: ClientConnection, data: bytes) -> None:
        if self._exchange is not None:
            received(self, data)

    patch(ClientConnection, "dataReceived", ignore)


@bug("response-matches-request", seeds=100)
def body_without_length_ends_at_a_reset(patch: Patch) -> None:
    """The client accepts a reset as the end of a body without length, which only an orderly close may end."""
    lost = ClientConnection.connectionLost

    def take(self: ClientConnection, reason: Any) -> None:
        if self._exchange is not None and self._head_done and self._until_close and reason.check(ConnectionLost):
            exchange, self._exchange = self._exchange, None
            lost(self, reason)
            exchange.answered(self._status, self._head, b"".join(self._body))
        else:
            lost(self, reason)

    patch(ClientConnection, "connectionLost", take)


@bug("nothing-left recovers-after-heal closed-is-gone", "chaos", 20)
def close_does_not_wait_for_sockets(patch: Patch) -> None:
    patch(Pools, "when_gone", lambda self: succeed(None))


@bug("closed-is-gone", "chaos", 60)
def close_forgets_connecting_sockets(patch: Patch) -> None:
    def retire(self: Pool) -> None:
        self._dials.clear()
        real(self)

    real = Pool.retire
    patch(Pool, "retire", retire)
