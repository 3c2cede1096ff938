"""The pool of one instance: its connections, and the queue of attempts."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from twisted.internet.error import ConnectBindError, ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout

from eas_tw.config import ClientConfig
from eas_tw.net.dialer import Dialer
from eas_tw.net.flush import Flusher
from eas_tw.net.http1 import ClientConnection
from eas_tw.net.pool import Pool
from eas_tw.policy.instances import Instance
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from tests.net.fleet import PuppetReactor
from tests.net.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Caller:
    """A dispatchable that records the calls of the pool."""

    def __init__(self, deadline: float = 1e9) -> None:
        self.deadline = deadline
        self.connection: ClientConnection | None = None
        self.result: Any = None

    def dispatch(self, connection: ClientConnection, host: bytes) -> None:
        self.connection = connection
        connection.send(b"POST / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", b"", self)

    on_head: Any = None

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        assert self.result is None
        self.result = status

    def broke(self, outcome: Outcome) -> None:
        assert self.result is None
        self.result = outcome.attempt_status


class Harness:
    """A pool, and its reactor in memory."""

    def __init__(self, **settings: Any) -> None:
        self.reactor = PuppetReactor()
        self.gone: list[Pool] = []
        config, instance = ClientConfig(**settings), Instance("10.0.0.1", 50000)
        self.dialer = Dialer(self.reactor)
        self.pool = Pool(self.reactor, instance, config, Flusher(self.reactor), self.dialer, self.gone.append)

    def call(self, *, fresh: bool = False, deadline: float = 1e9) -> Caller:
        caller = Caller(deadline)
        self.pool.submit(caller, fresh=fresh)
        return caller

    def served(self) -> tuple[Caller, Wire]:
        """Return an attempt that is dispatched on a new connection, and the transport of this connection."""
        caller = self.call()
        return caller, self.reactor.dials[-1].accept()

    def answer(self, wire: Wire, response: bytes = OK) -> None:
        wire.protocol.dataReceived(response)


def test_the_first_call_opens_a_connection_and_the_next_reuses_it() -> None:
    harness = Harness(connect_timeout_s=0.7)
    first = harness.call()
    (dial,) = harness.reactor.dials
    assert (dial.address, dial.timeout) == (("10.0.0.1", 50000), 0.7)
    wire = dial.accept()
    assert b"Host: 10.0.0.1:50000\r\n" in wire.take()
    harness.answer(wire)
    second = harness.call()
    assert wire.take()
    harness.answer(wire)
    assert (first.result, second.result) == (200, 200)
    assert len(harness.reactor.wires) == 1


def test_the_connection_idle_for_the_shortest_time_is_reused() -> None:
    harness = Harness()
    pairs = [harness.call() for _ in range(2)]
    older, newer = (dial.accept() for dial in list(harness.reactor.dials))
    harness.answer(older)
    harness.answer(newer)
    older.take(), newer.take()
    harness.call()
    assert newer.take()
    assert not older.take()
    assert [caller.result for caller in pairs] == [200, 200]


def test_connections_are_bounded_and_the_queue_is_first_in_first_out() -> None:
    harness = Harness(max_connections_per_instance=2)
    callers = [harness.call() for _ in range(4)]
    assert len(harness.reactor.dials) == 2
    one, two = (dial.accept() for dial in list(harness.reactor.dials))
    harness.answer(two)
    assert callers[2].connection is two.protocol
    assert callers[3].connection is None
    harness.answer(one)
    assert callers[3].connection is one.protocol
    assert not harness.reactor.dials


def test_a_queued_attempt_gets_the_first_connection_that_is_free() -> None:
    """A busy connection that becomes idle is used for the queued attempt before the new connection is open."""
    harness = Harness()
    _, wire = harness.served()
    waiting = harness.call()
    harness.answer(wire)
    assert waiting.connection is wire.protocol
    (dial,) = harness.reactor.dials
    dial.accept()
    assert harness.pool.connections == 2


def test_a_fresh_attempt_never_gets_an_idle_connection() -> None:
    harness = Harness()
    _, wire = harness.served()
    harness.answer(wire)
    fresh = harness.call(fresh=True)
    assert fresh.connection is None
    harness.reactor.dials[0].accept()
    assert fresh.connection is not wire.protocol


def test_a_fresh_attempt_replaces_an_idle_connection_of_a_full_pool() -> None:
    harness = Harness(max_connections_per_instance=1)
    _, wire = harness.served()
    harness.answer(wire)
    fresh = harness.call(fresh=True)
    assert not wire.is_open
    harness.reactor.dials[0].accept()
    assert fresh.connection is not None


@pytest.mark.parametrize(
    ("error", "attempt_status"),
    [
        (None, AttemptStatus.CONNECT_REFUSED),
        (ConnectTimeout(), AttemptStatus.CONNECT_TIMEOUT),
        (ConnectError(), AttemptStatus.CONNECT_FAILED),
        (ConnectBindError(errno.EMFILE, "Too many open files"), AttemptStatus.LOCAL_RESOURCE),
    ],
)
def test_a_failed_connect_fails_the_call(error: Exception | None, attempt_status: AttemptStatus) -> None:
    harness = Harness()
    caller = harness.call()
    harness.reactor.dials[0].fail(error)
    assert caller.result is attempt_status


def test_all_queued_attempts_of_an_unreachable_instance_fail_immediately() -> None:
    harness = Harness(max_connections_per_instance=1)
    callers = [harness.call() for _ in range(5)]
    harness.reactor.dials[0].fail()
    assert {caller.result for caller in callers} == {AttemptStatus.CONNECT_REFUSED}
    assert not harness.reactor.dials


def test_a_refused_connect_fails_only_one_attempt_if_a_connection_is_open() -> None:
    harness = Harness(max_connections_per_instance=2)
    _, wire = harness.served()
    callers = [harness.call() for _ in range(3)]
    harness.reactor.dials[0].fail()
    assert [caller.result for caller in callers] == [AttemptStatus.CONNECT_REFUSED, None, None]
    harness.answer(wire)
    assert callers[1].connection is wire.protocol


def test_an_exception_of_connect_tcp_is_a_failed_connect() -> None:
    """`connectTCP` raises for some addresses. As with other failures, attempts end in the next reactor iteration."""
    harness = Harness(max_connections_per_instance=2)

    def refuse(*_: Any, **__: Any) -> None:
        raise UnicodeError("label too long")

    harness.reactor.connectTCP = refuse  # type: ignore[method-assign,assignment]
    callers = [harness.call() for _ in range(5)]
    assert [caller.result for caller in callers] == [None] * 5
    harness.reactor.advance(0)
    assert {caller.result for caller in callers} == {AttemptStatus.CONNECT_FAILED}
    harness.pool.retire()
    assert harness.gone
    assert not harness.reactor.getDelayedCalls()


def test_at_most_50_connections_are_opened_in_a_reactor_iteration() -> None:
    harness = Harness(max_connections_per_instance=1000)
    callers = [harness.call() for _ in range(130)]
    assert len(harness.reactor.dials) == 50
    (turn,) = harness.reactor.getDelayedCalls()
    turn.func()
    turn.cancel()
    assert len(harness.reactor.dials) == 100
    harness.reactor.advance(0)
    assert len(harness.reactor.dials) == 130
    for dial in list(harness.reactor.dials):
        dial.accept()
    assert all(caller.connection is not None for caller in callers)
    assert not harness.reactor.getDelayedCalls()


def test_a_connection_whose_call_was_served_meanwhile_is_not_opened() -> None:
    harness = Harness(max_connections_per_instance=1000)
    callers = [harness.call() for _ in range(51)]
    for dial in list(harness.reactor.dials):
        harness.answer(dial.accept())
    assert callers[50].connection is not None
    harness.reactor.advance(0)
    assert not harness.reactor.dials
    assert "opening=0" in repr(harness.pool)


def test_connections_that_are_not_opened_yet_are_dropped_with_their_pool() -> None:
    harness = Harness(max_connections_per_instance=1000)
    callers = [harness.call() for _ in range(60)]
    harness.pool.retire()
    assert {caller.result for caller in callers} == {AttemptStatus.INSTANCE_REMOVED}
    assert not harness.reactor.dials
    assert harness.gone
    assert not harness.reactor.getDelayedCalls()


def test_a_connect_timeout_is_ignored_if_a_later_connect_has_succeeded() -> None:
    harness = Harness()
    first = harness.call()
    old = harness.reactor.dials[0]
    harness.reactor.advance(0.5)
    busy = harness.call()
    harness.reactor.dials[1].accept()
    assert first.connection is not None
    harness.reactor.advance(0.5)
    old.fail(ConnectTimeout())
    assert busy.result is None
    harness.reactor.dials[-1].accept()
    assert busy.connection is not None
    late = [harness.call(), harness.call()]
    harness.reactor.dials[0].fail(ConnectTimeout())
    assert [caller.result for caller in late] == [AttemptStatus.CONNECT_TIMEOUT, None]


def test_a_pool_reports_whether_bytes_arrived_after_a_given_time() -> None:
    harness = Harness()
    _, wire = harness.served()
    harness.reactor.advance(1.0)
    assert not harness.pool.heard_since(0.0)
    harness.answer(wire)
    assert harness.pool.heard_since(0.5)
    assert not harness.pool.heard_since(1.0)
    harness.call(fresh=True)
    assert harness.pool.is_opening
    harness.reactor.dials[0].accept()
    assert not harness.pool.is_opening


def test_a_lost_connection_is_replaced_for_a_queued_attempt() -> None:
    harness = Harness(max_connections_per_instance=1)
    busy, wire = harness.served()
    waiting = harness.call()
    wire.lose()
    assert busy.result is AttemptStatus.LOST
    harness.reactor.dials[0].accept()
    assert waiting.connection is not None


def test_a_connection_that_closes_after_its_response_is_replaced_for_a_queued_attempt() -> None:
    harness = Harness(max_connections_per_instance=1)
    _, wire = harness.served()
    waiting = harness.call()
    harness.answer(wire, CLOSING)
    harness.reactor.dials[0].accept()
    assert waiting.connection is not None


def test_idle_connections_are_closed_after_30_s() -> None:
    """Each connection is closed after 30 s without use. No timer is left after the last connection is closed."""
    harness = Harness()
    harness.call(), harness.call()
    one, two = (dial.accept() for dial in list(harness.reactor.dials))
    harness.answer(one)
    harness.reactor.advance(20)
    harness.answer(two)
    harness.reactor.advance(10)
    assert (one.is_open, two.is_open) == (False, True)
    harness.reactor.advance(20)
    assert not two.is_open
    assert not harness.reactor.getDelayedCalls()


def test_an_idle_connection_closed_by_the_server_is_removed() -> None:
    harness = Harness()
    _, wire = harness.served()
    harness.answer(wire)
    wire.lose()
    assert harness.pool.connections == 0
    harness.call()
    assert len(harness.reactor.dials) == 1


def test_a_withdrawn_call_leaves_the_queue() -> None:
    harness = Harness(max_connections_per_instance=1)
    _, wire = harness.served()
    first, second = harness.call(), harness.call()
    harness.pool.withdraw(first)
    harness.answer(wire)
    assert (first.connection, second.connection) == (None, wire.protocol)


def test_the_queue_is_bounded() -> None:
    harness = Harness(max_connections_per_instance=1, max_waiting=2)
    harness.served()
    callers = [harness.call() for _ in range(3)]
    assert [caller.result for caller in callers] == [None, None, AttemptStatus.OVERLOADED]


def test_an_attempt_is_overloaded_if_its_expected_wait_exceeds_its_deadline() -> None:
    """At one response per 0.1 s, 20 queued attempts take 2 s. An attempt with an earlier deadline is rejected."""
    harness = Harness(max_connections_per_instance=1)
    _, wire = harness.served()
    line = [harness.call() for _ in range(30)]
    for _ in range(10):
        harness.reactor.advance(0.1)
        harness.answer(wire)
    waiting = sum(caller.connection is None for caller in line)
    assert waiting == 20
    now = harness.reactor.seconds()
    assert harness.call(deadline=now + 1.9).result is AttemptStatus.OVERLOADED
    assert harness.call(deadline=now + 2.5).result is None


def test_a_retired_pool_finishes_running_attempts() -> None:
    harness = Harness(max_connections_per_instance=2)
    _, idle = harness.served()
    busy = harness.call(fresh=True)
    busy_wire = harness.reactor.dials[0].accept()
    harness.answer(idle)
    waiting = harness.call(fresh=True)
    harness.pool.retire()
    assert waiting.result is AttemptStatus.INSTANCE_REMOVED
    assert not idle.is_open
    assert harness.gone == []
    harness.answer(busy_wire)
    assert busy.result == 200
    assert not busy_wire.is_open
    assert harness.gone[-1] is harness.pool
    assert not harness.reactor.getDelayedCalls()


def test_retiring_stops_connections_being_opened() -> None:
    harness = Harness()
    caller = harness.call()
    harness.pool.retire()
    assert caller.result is AttemptStatus.INSTANCE_REMOVED
    assert not harness.reactor.dials
    assert harness.gone


def test_a_retired_pool_with_more_calls_than_connections_is_gone() -> None:
    harness = Harness(max_connections_per_instance=2)
    callers = [harness.call() for _ in range(5)]
    harness.pool.retire()
    harness.reactor.advance(0.1)
    assert {caller.result for caller in callers} == {AttemptStatus.INSTANCE_REMOVED}
    assert not harness.reactor.dials
    assert harness.gone


@pytest.mark.parametrize("earlier_dials", [0, Dialer.PER_TURN], ids=["dial started", "dial queued"])
def test_a_retired_pool_whose_last_call_is_withdrawn_is_gone(earlier_dials: int) -> None:
    harness = Harness()
    for _ in range(earlier_dials):
        harness.pool.withdraw(harness.call())
        harness.reactor.dials[0].fail()
    late: list[Caller] = []

    class Returning(Caller):
        def broke(self, outcome: Outcome) -> None:
            super().broke(outcome)
            late.append(harness.call())

    harness.pool.submit(Returning(), fresh=False)
    harness.pool.retire()
    for caller in late:
        harness.pool.withdraw(caller)
    for dial in list(harness.reactor.dials):
        dial.fail()
    harness.reactor.advance(0.1)
    assert harness.pool.is_gone
    assert harness.gone


def test_the_repr_of_a_pool_shows_its_state() -> None:
    harness = Harness(max_connections_per_instance=1)
    harness.served(), harness.call()
    assert repr(harness.pool) == "<Pool 10.0.0.1:50000 open=1 idle=0 opening=0 waiting=1>"
