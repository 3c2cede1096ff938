"""A single call with fixed instances in memory: choice of the instance, retries, errors and clean-up."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectBindError

from eas_tw import (
    AttemptStatus,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    LocalResourceError,
    Overloaded,
    ProtocolViolation,
    RequestFailed,
    StatusError,
)
from eas_tw.policy.selection import FIRST
from tests.net.calling import Harness, Result, response, says

if TYPE_CHECKING:
    from eas_tw import Instance, Outcome
    from eas_tw.policy.selection import Selection


def test_a_call_gets_the_response_of_an_instance() -> None:
    """The request has the path, query, header fields and body of the call."""
    harness = Harness()
    call = harness.call(path="/v2", query={"a": "b c"}, headers={"X-Trace": "1"})
    called = harness.dial.address
    wire = harness.accept()
    head, _, body = wire.take().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /api/predict/svc/v2?a=b+c HTTP/1.1"
    assert b"X-Trace: 1" in lines
    assert b"Content-Length: 5" in lines
    assert body == b"hello"
    says(wire, response(body=b"world"))
    assert str(call.value) == "world"
    connections = {one.key: harness.client.connections(one) for one in harness.client.instances}
    assert {key for key, number in connections.items() if number} == {called}
    assert sum(connections.values()) == 1  # it is kept for the next call
    harness.assert_clean()


@pytest.mark.parametrize("how", ["refused", "reset", "closed", "503", "450"])
def test_a_failed_attempt_is_retried_on_another_instance_immediately(how: str) -> None:
    harness = Harness()
    call = harness.call()
    first = harness.dial.address
    if how == "refused":
        harness.dial.fail()
    else:
        wire = harness.accept()
        if how in ("reset", "closed"):
            wire.lose(ConnectionError() if how == "reset" else None)
        else:
            says(wire, response(int(how)))
    assert harness.dial.address != first
    says(harness.accept(), response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_no_instance_is_tried_twice_while_another_is_left() -> None:
    """Two of three instances are down: each costs one attempt, and the third one responds."""
    harness = Harness()
    call = harness.call()
    tried = [harness.dial.address]
    harness.dial.fail()
    tried.append(harness.dial.address)
    harness.dial.fail()
    harness.reactor.advance(0.1)
    tried.append(harness.dial.address)
    says(harness.accept(), response())
    assert str(call.value) == "ok"
    assert len(set(tried)) == 3
    harness.assert_clean()


def test_when_all_have_failed_the_error_names_every_attempt() -> None:
    harness = Harness(2, attempts=5)
    call = harness.call()
    harness.dial.fail()
    harness.dial.fail()
    assert isinstance(call.error, ConnectionFailed)
    assert call.attempt_statuses == [AttemptStatus.CONNECT_REFUSED] * 2
    assert {attempt.instance.ip for attempt in call.error.attempts} == {"10.0.0.1", "10.0.0.2"}
    assert "10.0.0.1:80" in str(call.error)
    harness.assert_clean()


def test_the_only_instance_is_tried_again_after_a_pause() -> None:
    harness = Harness(1)
    call = harness.call()
    harness.dial.fail()
    assert not harness.reactor.dials
    harness.reactor.advance(0.03)
    says(harness.accept(), response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_no_call_fails_if_the_instance_with_the_highest_weight_is_down() -> None:
    """The instance with weight 1000 refuses connections; the one with weight 1 accepts them."""
    harness = Harness(weights=(1000, 1))
    calls = [harness.call() for _ in range(200)]
    for _ in range(1000):
        for dial in list(harness.reactor.dials):
            if dial in harness.reactor.dials:
                dial.fail() if dial.address[0] == "10.0.0.1" else dial.accept()
        for wire in harness.reactor.wires:
            if wire.is_open and wire.take():
                says(wire, response())
        harness.reactor.advance(0)
        if all(call.fired for call in calls):
            break
    assert {str(call.value) for call in calls} == {"ok"}
    harness.assert_clean()


def short_of_descriptors() -> ConnectBindError:
    """Return the error that Twisted reports when `socket()` fails because there is no free descriptor."""
    return ConnectBindError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("n", [1, 3])
def test_a_lack_of_local_resources_is_retried_after_pauses(n: int) -> None:
    harness = Harness(n, retry_budget_ratio=0.0, retry_budget_min_per_s=0.0)
    call = harness.call(idempotent=False)
    for _ in range(10):
        harness.dial.fail(short_of_descriptors())
        assert not harness.reactor.dials
        harness.reactor.advance(0.01)
        harness.reactor.advance(0.24)
    says(harness.accept(), response())
    assert str(call.value) == "ok"
    assert harness.client.ejected == ()
    assert harness.client.counters.ejections == {}
    harness.assert_clean()


def test_a_permanent_lack_of_local_resources_is_one_clear_error() -> None:
    harness = Harness(2)
    call = harness.call(timeout_s=2.0)
    for _ in range(200):
        for dial in list(harness.reactor.dials):
            dial.fail(short_of_descriptors())
        if call.fired:
            break
        harness.reactor.advance(0.01)
    assert isinstance(call.error, LocalResourceError)
    assert {*call.attempt_statuses} == {AttemptStatus.LOCAL_RESOURCE}
    assert 9 <= len(call.attempt_statuses) <= 20
    assert "no file descriptor is left in this process: EMFILE" in str(call.error)
    assert len(str(call.error)) < 1200
    assert harness.client.counters.ejections == {}
    harness.assert_clean()


@pytest.mark.parametrize(("lacking_s", "is_blamed"), [(0.0, True), (0.6, True), (1.3, False)])
def test_an_instance_that_had_little_of_the_calls_time_is_not_ejected(lacking_s: float, is_blamed: bool) -> None:  # noqa: FBT001
    harness = Harness(2, eject_after=1, hedge_after_s=None, timeout_s=2.0)
    call = harness.call()
    while harness.reactor.seconds() < lacking_s:
        for dial in list(harness.reactor.dials):
            dial.fail(short_of_descriptors())
        harness.reactor.advance(0.01)
    while not harness.reactor.dials:
        harness.reactor.advance(0.01)
    harness.accept()
    harness.reactor.advance(2.0)
    assert isinstance(call.error, DeadlineExceeded)
    assert call.attempt_statuses[-1] is AttemptStatus.DEADLINE
    assert len(harness.client.ejected) == is_blamed


def test_a_lack_of_local_resources_does_not_prevent_failover() -> None:
    harness = Harness(3)
    call = harness.call()
    refused = harness.dial.address
    harness.dial.fail()
    harness.dial.fail(short_of_descriptors())
    harness.reactor.advance(0.25)
    assert harness.dial.address != refused
    harness.dial.fail()
    harness.reactor.advance(0.25)
    says(harness.accept(), response())
    assert str(call.value) == "ok"


def test_a_call_that_cannot_open_a_connection_uses_the_next_idle_one() -> None:
    harness = Harness(1)
    first, second = harness.call(), harness.call()
    one, two = harness.reactor.dials
    wire = one.accept()
    two.fail(short_of_descriptors())
    assert not second.fired
    says(wire, response())
    harness.reactor.advance(0.03)
    says(wire, response())
    assert [str(call.value) for call in (first, second)] == ["ok", "ok"]
    harness.assert_clean()


def test_a_stale_connection_is_retried_without_a_failure() -> None:
    harness = Harness(1)
    says_ok = harness.call()
    wire = harness.accept()
    says(wire, response())
    call = harness.call()
    wire.lose()
    says(harness.accept(), response())
    assert (str(says_ok.value), str(call.value)) == ("ok", "ok")
    assert harness.client.counters.retries == {"stale": 1}
    assert harness.client.ejected == ()
    harness.assert_clean()


def test_a_connection_closed_before_its_first_use_is_stale() -> None:
    """The connection was opened for a call, which then used another connection."""
    harness = Harness(1)
    calls = [harness.call()]
    wire = harness.accept()
    calls.append(harness.call())
    says(wire, response())
    says(wire, response())
    unused = harness.accept()
    calls.append(harness.call())
    assert unused.take()
    unused.lose()
    says(harness.accept(), response())
    assert [str(call.value) for call in calls] == ["ok"] * 3
    assert harness.client.counters.retries == {"stale": 1}
    harness.assert_clean()


def test_stale_connections_to_every_instance_cost_one_attempt_each_at_most() -> None:
    harness = Harness(2, attempts=2)
    warm = [harness.call(), harness.call()]
    wires = [dial.accept() for dial in list(harness.reactor.dials)]
    for wire in wires:
        says(wire, response())
        wire.take()
    call = harness.call()
    (used,) = [wire for wire in wires if wire.take()]
    used.lose()
    says(harness.accept(), response())
    assert [str(result.value) for result in (*warm, call)] == ["ok"] * 3
    harness.assert_clean()


@pytest.mark.parametrize("status", [400, 401, 404, 405, 408, 429, 500, 502, 504, 304])
def test_other_statuses_fail_at_once_with_the_body(status: int) -> None:
    """The error has the status, body and headers. No other instance is tried."""
    harness = Harness()
    call = harness.call()
    says(harness.accept(), response(status, b"" if status == 304 else b"no such tensor", b"X-Why: because"))
    assert isinstance(call.error, StatusError)
    assert call.error.status == status
    assert call.error.headers["x-why"] == "because"
    assert call.error.body == (b"" if status == 304 else b"no such tensor")
    assert len(call.error.attempts) == 1
    harness.assert_clean()


def test_a_429_is_retried_after_its_retry_after() -> None:
    harness = Harness()
    call = harness.call()
    says(harness.accept(), response(429, b"", b"Retry-After: 2"))
    harness.reactor.advance(1.9)
    assert not harness.reactor.dials
    harness.reactor.advance(0.2)
    says(harness.accept(), response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_bytes_that_are_not_http_are_a_protocol_violation() -> None:
    harness = Harness()
    call = harness.call()
    says(harness.accept(), b"220 smtp.example.com ESMTP\r\n")
    assert isinstance(call.error, ProtocolViolation)
    harness.assert_clean()


@pytest.mark.parametrize("where", ["connecting", "waiting", "answering", "pausing"])
def test_the_deadline_ends_the_call_in_every_state(where: str) -> None:
    harness = Harness(1 if where == "pausing" else 3, timeout_s=2.0, backoff_base_s=1.9, backoff_max_s=1.9, seed=2)
    call = harness.call()
    if where == "waiting":
        harness.accept()
    elif where == "answering":
        says(harness.accept(), b"HTTP/1.1 200 OK\r\nContent-Le")
    elif where == "pausing":
        harness.dial.fail()
    harness.reactor.advance(1.99)
    if where == "pausing":
        harness.dial  # noqa: B018  the pause is over, and the second attempt hangs
    assert not call.fired
    harness.reactor.advance(0.02)
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.attempts
    assert "2 s" in str(call.error)
    assert not [wire for wire in harness.reactor.wires if wire.is_open]
    harness.assert_clean()


def test_the_deadline_is_for_all_attempts_together() -> None:
    harness = Harness(timeout_s=3.0, attempt_timeout_s=1.0, attempts=9)
    call = harness.call()
    for _ in range(3):
        harness.accept()
        harness.reactor.advance(1.0)
        harness.reactor.advance(0.05)
    assert isinstance(call.error, RequestFailed)
    assert call.attempt_statuses[:2] == [AttemptStatus.ATTEMPT_TIMEOUT] * 2
    harness.assert_clean()


def test_an_attempt_timeout_leaves_time_for_another_instance() -> None:
    harness = Harness(attempt_timeout_s=0.5)
    call = harness.call()
    hung = harness.accept()
    harness.reactor.advance(0.5)
    assert not hung.is_open
    says(harness.accept(), response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_a_call_may_have_its_own_deadline() -> None:
    harness = Harness(timeout_s=60)
    slow, quick = harness.call(), harness.call(timeout_s=0.2)
    harness.reactor.advance(0.3)
    assert isinstance(quick.error, DeadlineExceeded)
    assert not slow.fired
    slow.deferred.cancel()
    harness.assert_clean()


@pytest.mark.parametrize("where", ["connecting", "waiting", "answering", "pausing", "queueing"])
def test_cancelling_leaves_nothing_behind(where: str) -> None:
    harness = Harness(1, max_connections_per_instance=1)
    busy = harness.call() if where == "queueing" else None
    if busy:
        busy_wire = harness.accept()
    call = harness.call()
    if where in ("waiting", "answering"):
        wire = harness.accept()
        if where == "answering":
            says(wire, b"HTTP/1.1 2")
    elif where == "pausing":
        harness.dial.fail()
    call.deferred.cancel()
    assert isinstance(call.error, CancelledError)
    if busy:
        says(busy_wire, response())
        assert str(busy.value) == "ok"
    harness.assert_clean()


def test_a_connection_opened_for_a_cancelled_call_serves_the_next() -> None:
    harness = Harness(1)
    harness.call().deferred.cancel()
    wire = harness.accept()
    call = harness.call()
    says(wire, response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_calls_beyond_max_waiting_are_overloaded() -> None:
    harness = Harness(1, max_connections_per_instance=1, max_waiting=1)
    busy = harness.call()
    wire = harness.accept()
    waiting, turned_away = harness.call(), harness.call()
    assert isinstance(turned_away.error, Overloaded)
    says(wire, response())
    says(wire, response())
    assert (str(busy.value), str(waiting.value)) == ("ok", "ok")
    harness.assert_clean()


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
        {"headers": {"Date": "x"}},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"timeout_s": "5"},
    ],
    ids=repr,
)
def test_header_and_request_injection_is_refused(options: dict[str, Any]) -> None:
    harness = Harness()
    assert isinstance(harness.call(**options).error, ConfigError)
    assert not harness.reactor.dials
    harness.assert_clean()


def test_a_parser_that_fails_fails_the_call() -> None:
    class Strict:
        def to_string(self) -> bytes:
            return b""

        def parse_response(self, content: bytes) -> object:
            raise KeyError(content)

    harness = Harness()
    call = Result(harness.client.predict(Strict()))
    wire = harness.accept()
    says(wire, response())
    assert isinstance(call.error, KeyError)
    assert wire.is_open
    harness.assert_clean()


def test_counters_add_up() -> None:
    harness = Harness()
    harness.call()
    harness.dial.fail()
    says(harness.accept(), response())
    counters = harness.client.counters
    assert (counters.calls, counters.answered) == (1, 1)
    assert counters.attempts.total() == 2
    assert counters.failures == counters.retries == {"connect_refused": 1}
    assert counters.failovers == 1
    assert counters.ejections.total() == 1
    harness.assert_clean()


class Selections:
    """A `FleetObserver` that collects the selection of each attempt."""

    def __init__(self) -> None:
        self.chosen: list[tuple[Instance, Selection, float]] = []

    def on_chosen(self, instance: Instance, selection: Selection, now: float) -> None:
        self.chosen.append((instance, selection, now))

    def on_ending(self, instance: Instance, outcome: Outcome, began: float) -> None:
        pass

    def on_failed(self, instance: Instance, outcome: Outcome) -> None:
        pass

    def on_overheard(self, instance: Instance, outcome: Outcome) -> None:
        pass


def selections_of(harness: Harness, **options: Any) -> list[tuple[Instance, Selection, float]]:
    """Make a call whose first attempt is refused. Return the instance, the selection and the time of both attempts."""
    observer = Selections()
    harness.client._runtime.fleet.observe(observer)
    call = harness.call(**options)
    harness.reactor.advance(0.5)
    harness.dial.fail()
    says(harness.accept(), response())
    assert str(call.value) == "ok"
    harness.assert_clean()
    return observer.chosen


def test_each_attempt_passes_its_call_to_the_balancer() -> None:
    harness = Harness(balancer="hash")
    (first, before, began), (_, after, later) = selections_of(
        harness, key="user-7", path="/v2", headers={"X-Tier": "gold"}
    )
    assert (before.tried, before.failed) == ((), ())
    assert (after.tried, after.failed) == ((first.key,), (first.key,))
    for selection, attempt, now in ((before, 1, began), (after, 2, later)):
        assert (selection.call.attempt, selection.call.now) == (attempt, now)
        assert (selection.call.key, selection.call.method, selection.call.path) == ("user-7", "POST", "/v2")
        assert (dict(selection.call.headers), selection.call.hold_s) == ({"x-tier": "gold"}, 0.0)
    assert later == began + 0.5


def test_first_attempts_share_a_selection_if_the_balancer_does_not_read_calls() -> None:
    """All first attempts share `FIRST`, so no field of `Selection` may have a value that differs between calls."""
    (first, before, _), (_, after, _) = selections_of(Harness(balancer="wrr"), path="/v2")
    assert before is FIRST
    assert (after.tried, after.failed, after.call.attempt) == ((first.key,), (first.key,), 2)
