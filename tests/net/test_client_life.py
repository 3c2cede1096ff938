"""The life cycle of a client and its children, from before `init` to after `close`, with instances in memory."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from twisted.internet.defer import fail

from eas_tw import ClientClosed, ConfigError, NoInstances, PredictClient
from eas_tw.telemetry.events import CallEnded, Closed
from tests.net.calling import Harness, Result, logged_events, response, says
from tests.net.fleet import PuppetReactor


def test_calls_before_init_and_after_close_are_clear_errors() -> None:
    client = PredictClient("", "svc", instances=[("10.0.0.1", 80)], reactor=PuppetReactor())
    assert isinstance(Result(client.predict(b"x")).error, NoInstances)
    Result(client.init())
    Result(client.close())
    assert isinstance(Result(client.predict(b"x")).error, ClientClosed)
    assert isinstance(Result(client.init()).error, ClientClosed)


def test_close_lets_calls_finish() -> None:
    """A call that begins after `close` is refused."""
    harness = Harness()
    call = harness.call()
    wire = harness.accept()
    closing = Result(harness.client.close())
    assert not closing.fired
    assert isinstance(harness.call().error, ClientClosed)
    says(wire, response())
    assert str(call.value) == "ok"
    harness.reactor.advance(0)
    assert closing.fired
    harness.assert_clean()


def test_close_fires_after_the_last_call_has_fired() -> None:
    """`close` waits for the call even without open sockets, because a program may end when `close` fires."""
    harness = Harness(1, attempts=1)
    told: list[str] = []
    harness.client.predict("hello").addBoth(lambda _: told.append("call"))
    harness.client.close().addBoth(lambda _: told.append("closed"))
    harness.accept().lose(ConnectionError())
    harness.reactor.advance(0)
    assert told == ["call", "closed"]
    harness.assert_clean()


def test_close_ends_calls_that_do_not_finish() -> None:
    """The calls fail after `drain_timeout_s`. All sockets are closed when `close` fires."""
    harness = Harness(timeout_s=60, drain_timeout_s=3.0)
    hung, connecting = harness.call(), harness.call()
    harness.reactor.dials[0].accept()
    closing = Result(harness.client.close())
    harness.reactor.advance(3.0)
    assert isinstance(hung.error, ClientClosed)
    assert isinstance(connecting.error, ClientClosed)
    assert closing.fired
    harness.assert_clean()


def test_children_share_connections_and_have_their_own_service() -> None:
    harness = Harness(1)
    child = harness.client.child("other", token="t0ken")
    Result(child.init())
    harness.call()
    wire = harness.accept()
    says(wire, response())
    wire.take()
    call = Result(child.predict(b"x"))
    assert wire.take().startswith(b"POST /api/predict/other HTTP/1.1")
    says(wire, response())
    assert str(call.value) == "ok"
    assert Result(child.close()).fired
    assert wire.is_open
    harness.assert_clean()


def test_a_closed_child_is_released() -> None:
    """A program may make a child for each job, so neither closed children nor their retry budgets stay in memory."""
    harness = Harness(1)
    kept = []
    for number in range(20):
        child = harness.client.child(f"job{number}")
        Result(child.init())
        assert len(harness.client._children) == 1
        assert Result(child.close()).fired
        kept.append(weakref.ref(child))
    del child
    gc.collect()
    assert not any(ref() for ref in kept)
    assert not harness.client._children
    assert len(harness.client._shared._budgets) == 1
    harness.assert_clean()
    assert not harness.client._shared._budgets


def test_a_child_that_was_never_opened_may_be_dropped() -> None:
    """A child that was never opened has no resources to close, so it can be garbage-collected."""
    harness = Harness(1)
    dropped, opened = harness.client.child("a"), harness.client.child("b")
    Result(opened.init())
    ref, living = weakref.ref(dropped), weakref.ref(opened)
    del dropped, opened
    gc.collect()
    assert ref() is None
    assert living() is not None
    harness.assert_clean()


def test_a_child_of_a_closed_client_is_an_error() -> None:
    harness = Harness(1)
    unopened, opened = harness.client.child("a"), harness.client.child("b")
    below = unopened.child("c")
    for client in (opened, below):
        Result(client.init())
    assert Result(harness.client.close()).fired
    with pytest.raises(ClientClosed):
        harness.client.child("late")
    for client in (unopened, opened, below):
        with pytest.raises(ClientClosed):
            client.child("late")
        assert isinstance(Result(client.init()).error, ClientClosed)
        assert isinstance(Result(client.predict(b"x")).error, ClientClosed)
    harness.assert_clean()


def test_children_close_at_once_and_one_that_fails_stops_no_other() -> None:
    harness = Harness(1, drain_timeout_s=3.0, timeout_s=60)
    children = [harness.client.child(f"job{number}") for number in range(3)]
    for child in children:
        Result(child.init())
    calls = [Result(child.predict(b"x")) for child in children]
    with logged_events() as logged:
        assert children[0]._runtime is not None
        children[0]._runtime.fleet.close = lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]
        children[1].close = lambda: fail(KeyError("no"))  # type: ignore[method-assign, assignment]
        closing = Result(harness.client.close())
        assert isinstance(Result(children[2].predict(b"x")).error, ClientClosed)
        harness.reactor.advance(3.0)
    assert closing.fired
    assert isinstance(calls[0].error, ClientClosed)
    assert isinstance(calls[2].error, ClientClosed)
    failures = [event["log_failure"].type for event in logged if "log_failure" in event]
    assert sorted(failures, key=str) == [KeyError, ZeroDivisionError]


def test_a_callback_of_a_close_may_close_again() -> None:
    harness = Harness(1, drain_timeout_s=0)
    again: list[Any] = []
    harness.client.predict(b"x").addErrback(lambda _: again.append(Result(harness.client.close())))
    closing = Result(harness.client.close())
    assert closing.fired
    assert again[0].fired
    harness.assert_clean()


def test_clients_share_a_budget_by_service_endpoint_and_type() -> None:
    harness = Harness(1)
    same, elsewhere, other = harness.client.child("svc"), harness.client.child("svc"), harness.client.child("other")
    elsewhere.set_endpoint("10.0.0.9")
    again = harness.client.child("svc")
    again.set_endpoint("http://10.0.0.9/")
    for client in (same, elsewhere, other, again):
        Result(client.init())
    budgets = [client._runtime.call_context.budget for client in (harness.client, same, elsewhere, again, other)]  # type: ignore[union-attr]
    assert budgets[0] is budgets[1]
    assert budgets[2] is budgets[3]
    assert len(set(map(id, budgets))) == 3
    Result(same.close())
    assert harness.client._runtime is not None
    third = harness.client.child("svc")
    Result(third.init())
    assert third._runtime is not None
    assert third._runtime.call_context.budget is budgets[0]
    harness.assert_clean()


def test_the_last_event_of_a_client_is_closed() -> None:
    harness = Harness(1, drain_timeout_s=0)
    heard: list[Any] = []
    harness.client.listen(heard.append)
    Result(harness.client.predict(b"x"))
    harness.assert_clean()
    assert isinstance(heard[-2], CallEnded)
    assert heard[-1] == Closed("svc")
    assert harness.client._record._listeners == ()
    never = PredictClient("", "other", instances=[("10.0.0.1", 80)], reactor=harness.reactor)
    never.listen(heard.append)
    Result(never.close())
    assert heard[-1] == Closed("other")


def test_a_child_with_invalid_settings_is_not_kept() -> None:
    harness = Harness(1)
    with pytest.raises(ConfigError):
        harness.client.child("no service")
    gc.collect()
    assert not harness.client._children
    harness.assert_clean()
