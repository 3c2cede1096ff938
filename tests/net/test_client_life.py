"""A client from before `init` to after `close`, and its children, on puppet instances."""

from __future__ import annotations

from eas_tw import ClientClosed, NoInstances, PredictClient
from tests.net.calling import House, Result, response, says
from tests.net.fleet import PuppetReactor


def test_before_init_and_after_close_are_clear_errors() -> None:
    """Each says what to do."""
    client = PredictClient("", "svc", instances=[("10.0.0.1", 80)], reactor=PuppetReactor())
    assert isinstance(Result(client.predict(b"x")).error, NoInstances)
    Result(client.init())
    Result(client.close())
    assert isinstance(Result(client.predict(b"x")).error, ClientClosed)
    assert isinstance(Result(client.init()).error, ClientClosed)


def test_close_lets_calls_finish() -> None:
    """Draining: a call in flight gets its answer, a new one is refused."""
    house = House()
    call = house.call()
    wire = house.accept()
    closing = Result(house.client.close())
    assert not closing.fired
    assert isinstance(house.call().error, ClientClosed)
    says(wire, response())
    assert str(call.value) == "ok"
    house.reactor.advance(0)
    assert closing.fired
    house.assert_clean()


def test_close_fires_after_the_last_call_has_its_answer() -> None:
    """Even if no socket is left to wait for: a program may end when `close` fires."""
    house = House(1, attempts=1)
    told: list[str] = []
    house.client.predict("hello").addBoth(lambda _: told.append("call"))
    house.client.close().addBoth(lambda _: told.append("closed"))
    house.accept().lose(ConnectionError())
    house.reactor.advance(0)
    assert told == ["call", "closed"]
    house.assert_clean()


def test_close_ends_calls_that_do_not_finish() -> None:
    """After `drain_timeout_s` they fail, and every socket is gone when `close` fires."""
    house = House(timeout_s=60, drain_timeout_s=3.0)
    hung, connecting = house.call(), house.call()
    house.reactor.dials[0].accept()
    closing = Result(house.client.close())
    house.reactor.advance(3.0)
    assert isinstance(hung.error, ClientClosed)
    assert isinstance(connecting.error, ClientClosed)
    assert closing.fired
    house.assert_clean()


def test_children_share_connections_and_have_their_own_service() -> None:
    """`child` talks to another service on the same instances over the same connections."""
    house = House(1)
    child = house.client.child("other", token="t0ken")
    Result(child.init())
    house.call()
    wire = house.accept()
    says(wire, response())
    wire.take()
    call = Result(child.predict(b"x"))
    assert wire.take().startswith(b"POST /api/predict/other HTTP/1.1")
    says(wire, response())
    assert str(call.value) == "ok"
    assert Result(child.close()).fired
    assert wire.is_open
    house.assert_clean()
