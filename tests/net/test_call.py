"""One call from pick to answer, on fixed lists of puppet instances: where it goes, when it gives up, what it leaves."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectBindError

from eas_tw import (
    Condition,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    LocalResourceError,
    Overloaded,
    ProtocolViolation,
    RequestFailed,
    StatusError,
)
from tests.net.calling import House, Result, response, says


def test_a_call_is_answered() -> None:
    """The request goes out, the response comes back, the connection is kept."""
    house = House()
    call = house.call(path="/v2", query={"a": "b c"}, headers={"X-Trace": "1"})
    wire = house.accept()
    head, _, body = wire.take().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /api/predict/svc/v2?a=b+c HTTP/1.1"
    assert b"X-Trace: 1" in lines
    assert b"Content-Length: 5" in lines
    assert body == b"hello"
    says(wire, response(body=b"world"))
    assert str(call.value) == "world"
    assert house.client.connections(house.client.instances[0]) in (0, 1)
    house.assert_clean()


@pytest.mark.parametrize("how", ["refused", "reset", "closed", "503", "450"])
def test_a_failure_goes_to_another_instance_at_once(how: str) -> None:
    """Each retried outcome, with no time passing, on an instance not tried before."""
    house = House()
    call = house.call()
    first = house.dial.address
    if how == "refused":
        house.dial.fail()
    else:
        wire = house.accept()
        if how in ("reset", "closed"):
            wire.lose(ConnectionError() if how == "reset" else None)
        else:
            says(wire, response(int(how)))
    assert house.dial.address != first
    says(house.accept(), response())
    assert str(call.value) == "ok"
    house.assert_clean()


def test_no_instance_is_tried_twice_while_another_is_left() -> None:
    """Two dead of three: each dead one costs one attempt, the third answers."""
    house = House()
    call = house.call()
    tried = [house.dial.address]
    house.dial.fail()
    tried.append(house.dial.address)
    house.dial.fail()
    house.reactor.advance(0.1)
    tried.append(house.dial.address)
    says(house.accept(), response())
    assert str(call.value) == "ok"
    assert len(set(tried)) == 3
    house.assert_clean()


def test_when_all_have_failed_the_error_names_every_attempt() -> None:
    """Never again an instance that has failed in this call."""
    house = House(2, attempts=5)
    call = house.call()
    house.dial.fail()
    house.dial.fail()
    assert isinstance(call.error, ConnectionFailed)
    assert call.conditions == [Condition.CONNECT_REFUSED] * 2
    assert {attempt.instance.ip for attempt in call.error.attempts} == {"10.0.0.1", "10.0.0.2"}
    assert "10.0.0.1:80" in str(call.error)
    house.assert_clean()


def test_the_only_instance_is_tried_again_after_a_pause() -> None:
    """With one instance in the list there is nobody else."""
    house = House(1)
    call = house.call()
    house.dial.fail()
    assert not house.reactor.dials
    house.reactor.advance(0.03)
    says(house.accept(), response())
    assert str(call.value) == "ok"
    house.assert_clean()


def test_a_heavy_dead_instance_beside_a_light_live_one_loses_nothing() -> None:
    """Weight 1000 dead, weight 1 alive: every call is answered by the live one."""
    house = House(weights=(1000, 1))
    calls = [house.call() for _ in range(200)]
    for _ in range(1000):
        for dial in list(house.reactor.dials):
            if dial in house.reactor.dials:
                dial.fail() if dial.address[0] == "10.0.0.1" else dial.accept()
        for wire in house.reactor.wires:
            if wire.is_open and wire.take():
                says(wire, response())
        house.reactor.advance(0)
        if all(call.fired for call in calls):
            break
    assert {str(call.value) for call in calls} == {"ok"}
    house.assert_clean()


def short_of_descriptors() -> ConnectBindError:
    """As Twisted reports that `socket` failed."""
    return ConnectBindError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("n", [1, 3])
def test_what_this_machine_lacks_is_waited_for(n: int) -> None:
    """Nobody is ejected, no attempt and no budget is used up, and each try comes after a pause."""
    house = House(n, retry_budget_ratio=0.0, retry_budget_min_per_s=0.0)
    call = house.call(idempotent=False)
    for _ in range(10):
        house.dial.fail(short_of_descriptors())
        assert not house.reactor.dials
        house.reactor.advance(0.01)
        house.reactor.advance(0.24)
    says(house.accept(), response())
    assert str(call.value) == "ok"
    assert house.client.ejected == ()
    assert house.client.counters.ejections == {}
    house.assert_clean()


def test_what_this_machine_lacks_to_the_end_is_one_clear_error() -> None:
    """Before the deadline, with what is lacking; the attempts are there, their text is short."""
    house = House(2)
    call = house.call(timeout_s=2.0)
    for _ in range(200):
        for dial in list(house.reactor.dials):
            dial.fail(short_of_descriptors())
        if call.fired:
            break
        house.reactor.advance(0.01)
    assert isinstance(call.error, LocalResourceError)
    assert {*call.conditions} == {Condition.LOCAL_RESOURCE}
    assert 9 <= len(call.conditions) <= 20
    assert "no file descriptor is left in this process: EMFILE" in str(call.error)
    assert len(str(call.error)) < 1200
    assert house.client.counters.ejections == {}
    house.assert_clean()


@pytest.mark.parametrize(("lacking_s", "is_blamed"), [(0.0, True), (0.6, True), (1.3, False)])
def test_an_instance_that_got_the_rest_of_the_time_only_is_not_blamed(lacking_s: float, is_blamed: bool) -> None:  # noqa: FBT001
    """When most of the call's time went by for want of something here, its deadline says nothing of the instance."""
    house = House(2, eject_after=1, hedge_after_s=None, timeout_s=2.0)
    call = house.call()
    while house.reactor.seconds() < lacking_s:
        for dial in list(house.reactor.dials):
            dial.fail(short_of_descriptors())
        house.reactor.advance(0.01)
    while not house.reactor.dials:
        house.reactor.advance(0.01)
    house.accept()
    house.reactor.advance(2.0)
    assert isinstance(call.error, DeadlineExceeded)
    assert call.conditions[-1] is Condition.DEADLINE
    assert len(house.client.ejected) == is_blamed


def test_what_this_machine_lacks_does_not_end_failovers() -> None:
    """Before and after it the call has its attempts, and goes where it has not failed."""
    house = House(3)
    call = house.call()
    refused = house.dial.address
    house.dial.fail()
    house.dial.fail(short_of_descriptors())
    house.reactor.advance(0.25)
    assert house.dial.address != refused
    house.dial.fail()
    house.reactor.advance(0.25)
    says(house.accept(), response())
    assert str(call.value) == "ok"


def test_an_idle_connection_serves_a_call_for_which_none_can_be_opened() -> None:
    """It is as good as a new one."""
    house = House(1)
    first, second = house.call(), house.call()
    one, two = house.reactor.dials
    wire = one.accept()
    two.fail(short_of_descriptors())
    assert not second.fired
    says(wire, response())
    house.reactor.advance(0.03)
    says(wire, response())
    assert [str(call.value) for call in (first, second)] == ["ok", "ok"]
    house.assert_clean()


def test_a_connection_closed_under_a_fresh_request_is_a_retry() -> None:
    """The server closed the kept connection: no error, no mark against the instance, and a new connection next."""
    house = House(1)
    says_ok = house.call()
    wire = house.accept()
    says(wire, response())
    call = house.call()
    wire.lose()
    says(house.accept(), response())
    assert (str(says_ok.value), str(call.value)) == ("ok", "ok")
    assert house.client.counters.retries == {"stale": 1}
    assert house.client.ejected == ()
    house.assert_clean()


def test_a_connection_kept_before_its_first_use_is_as_stale_as_any() -> None:
    """It was opened for a call that another connection served, and has waited since: that is no mark either."""
    house = House(1)
    calls = [house.call()]
    wire = house.accept()
    calls.append(house.call())
    says(wire, response())
    says(wire, response())
    unused = house.accept()
    calls.append(house.call())
    assert unused.take()
    unused.lose()
    says(house.accept(), response())
    assert [str(call.value) for call in calls] == ["ok"] * 3
    assert house.client.counters.retries == {"stale": 1}
    house.assert_clean()


def test_stale_connections_to_every_instance_cost_one_attempt_each_at_most() -> None:
    """After the first stale connection the call uses new ones only."""
    house = House(2, attempts=2)
    warm = [house.call(), house.call()]
    wires = [dial.accept() for dial in list(house.reactor.dials)]
    for wire in wires:
        says(wire, response())
        wire.take()
    call = house.call()
    (used,) = [wire for wire in wires if wire.take()]
    used.lose()
    says(house.accept(), response())
    assert [str(result.value) for result in (*warm, call)] == ["ok"] * 3
    house.assert_clean()


@pytest.mark.parametrize("status", [400, 401, 404, 405, 408, 429, 500, 502, 504, 304])
def test_other_statuses_fail_at_once_with_the_body(status: int) -> None:
    """The error has status, body and headers, and nothing else is tried."""
    house = House()
    call = house.call()
    says(house.accept(), response(status, b"" if status == 304 else b"no such tensor", b"X-Why: because"))
    assert isinstance(call.error, StatusError)
    assert call.error.status == status
    assert call.error.headers["x-why"] == "because"
    assert call.error.body == (b"" if status == 304 else b"no such tensor")
    assert len(call.error.attempts) == 1
    house.assert_clean()


def test_retry_after_is_waited_for() -> None:
    """A 429 that says when: then, on another instance, and not before."""
    house = House()
    call = house.call()
    says(house.accept(), response(429, b"", b"Retry-After: 2"))
    house.reactor.advance(1.9)
    assert not house.reactor.dials
    house.reactor.advance(0.2)
    says(house.accept(), response())
    assert str(call.value) == "ok"
    house.assert_clean()


def test_garbage_is_a_protocol_violation() -> None:
    """Whoever listens there is not an instance."""
    house = House()
    call = house.call()
    says(house.accept(), b"220 smtp.example.com ESMTP\r\n")
    assert isinstance(call.error, ProtocolViolation)
    house.assert_clean()


@pytest.mark.parametrize("where", ["connecting", "waiting", "answering", "pausing"])
def test_the_deadline_ends_the_call_wherever_it_is(where: str) -> None:
    """One total deadline; the connection is closed, the place freed, the attempts told."""
    house = House(1 if where == "pausing" else 3, timeout_s=2.0, backoff_base_s=1.9, backoff_max_s=1.9, seed=2)
    call = house.call()
    if where == "waiting":
        house.accept()
    elif where == "answering":
        says(house.accept(), b"HTTP/1.1 200 OK\r\nContent-Le")
    elif where == "pausing":
        house.dial.fail()
    house.reactor.advance(1.99)
    if where == "pausing":
        house.dial  # noqa: B018  the pause is over, and the second attempt hangs
    assert not call.fired
    house.reactor.advance(0.02)
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.attempts
    assert "2 s" in str(call.error)
    assert not [wire for wire in house.reactor.wires if wire.is_open]
    house.assert_clean()


def test_the_deadline_spans_all_attempts() -> None:
    """Attempts that each take long share one deadline."""
    house = House(timeout_s=3.0, attempt_timeout_s=1.0, attempts=9)
    call = house.call()
    for _ in range(3):
        house.accept()
        house.reactor.advance(1.0)
        house.reactor.advance(0.05)
    assert isinstance(call.error, RequestFailed)
    assert call.conditions[:2] == [Condition.ATTEMPT_TIMEOUT] * 2
    house.assert_clean()


def test_an_attempt_timeout_leaves_time_for_another_instance() -> None:
    """A hung instance costs its attempt's time, not the call."""
    house = House(attempt_timeout_s=0.5)
    call = house.call()
    hung = house.accept()
    house.reactor.advance(0.5)
    assert not hung.is_open
    says(house.accept(), response())
    assert str(call.value) == "ok"
    house.assert_clean()


def test_a_call_may_have_its_own_deadline() -> None:
    """`timeout_s` of the call counts, whatever the client's."""
    house = House(timeout_s=60)
    slow, quick = house.call(), house.call(timeout_s=0.2)
    house.reactor.advance(0.3)
    assert isinstance(quick.error, DeadlineExceeded)
    assert not slow.fired
    slow.deferred.cancel()
    house.assert_clean()


@pytest.mark.parametrize("where", ["connecting", "waiting", "answering", "pausing", "queueing"])
def test_cancelling_leaves_nothing_behind(where: str) -> None:
    """Cancel at any moment: the connection is closed, the place in line free, no timer left."""
    house = House(1, max_connections_per_instance=1)
    busy = house.call() if where == "queueing" else None
    if busy:
        busy_wire = house.accept()
    call = house.call()
    if where in ("waiting", "answering"):
        wire = house.accept()
        if where == "answering":
            says(wire, b"HTTP/1.1 2")
    elif where == "pausing":
        house.dial.fail()
    call.deferred.cancel()
    assert isinstance(call.error, CancelledError)
    if busy:
        says(busy_wire, response())
        assert str(busy.value) == "ok"
    house.assert_clean()


def test_a_connection_opened_for_a_cancelled_call_serves_the_next() -> None:
    """It is open anyway."""
    house = House(1)
    house.call().deferred.cancel()
    wire = house.accept()
    call = house.call()
    says(wire, response())
    assert str(call.value) == "ok"
    house.assert_clean()


def test_too_many_waiting_calls_are_turned_away() -> None:
    """`Overloaded`, at once, with nothing sent."""
    house = House(1, max_connections_per_instance=1, max_waiting=1)
    busy = house.call()
    wire = house.accept()
    waiting, turned_away = house.call(), house.call()
    assert isinstance(turned_away.error, Overloaded)
    says(wire, response())
    says(wire, response())
    assert (str(busy.value), str(waiting.value)) == ("ok", "ok")
    house.assert_clean()


@pytest.mark.parametrize(
    "options",
    [
        {"path": "/a b"},
        {"path": "/a\r\nX: y"},
        {"path": "/ü"},
        {"path": "/a?b"},
        {"query": "a=b c"},
        {"query": "a\r\n"},
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"X Y": "a"}},
        {"headers": {"Host": "evil"}},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"Authorization": "x"}},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"timeout_s": "5"},
    ],
    ids=repr,
)
def test_what_would_break_out_of_its_place_is_refused(options: dict[str, Any]) -> None:
    """Injection and nonsense fail the call before anything is sent."""
    house = House()
    assert isinstance(house.call(**options).error, ConfigError)
    assert not house.reactor.dials
    house.assert_clean()


def test_a_parser_that_fails_fails_the_call() -> None:
    """Its own error, once; the connection is fine and kept."""

    class Strict:
        def to_string(self) -> bytes:
            return b""

        def parse_response(self, content: bytes) -> object:
            raise KeyError(content)

    house = House()
    call = Result(house.client.predict(Strict()))
    wire = house.accept()
    says(wire, response())
    assert isinstance(call.error, KeyError)
    assert wire.is_open
    house.assert_clean()


def test_counters_add_up() -> None:
    """Calls, attempts, failures and retries are what happened."""
    house = House()
    house.call()
    house.dial.fail()
    says(house.accept(), response())
    counters = house.client.counters
    assert (counters.calls, counters.answered) == (1, 1)
    assert counters.attempts.total() == 2
    assert counters.failures == counters.retries == {"connect_refused": 1}
    assert counters.failovers == 1
    assert counters.ejections.total() == 1
    house.assert_clean()
