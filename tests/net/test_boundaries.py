"""If a method that a call uses raises an exception, that call ends once, and the next call works.

`BOUNDARIES` lists the methods that may raise: of the caller, of Twisted, or of eas_tw if it has a bug. New methods that
may raise are added there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from eas_tw import ClientClosed, DeadlineExceeded, RequestFailed
from eas_tw.telemetry.events import AttemptEnded, CallEnded, Ejected
from tests.net.calling import Harness, Result, response, says
from tests.net.traps import Trap, thrower

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDARIES = [
    "tests.net.fleet.PuppetReactor.connectTCP",
    "tests.net.wire.Wire.write",
    "eas_tw.net.call.Call._go_on",
    "eas_tw.net.deadlines.Deadlines.set",
    "eas_tw.net.deadlines.Deadlines.clear",
    "eas_tw.net.attempt.Attempt.let_go",
    "eas_tw.net.http1.ClientConnection.send",
    "eas_tw.net.http1.ClientConnection.abandon",
    "eas_tw.net.pool.Pool.submit",
    "eas_tw.net.pool.Pool.withdraw",
    "eas_tw.policy.cluster.Cluster.choose",
    "eas_tw.net.upstream.Upstream.pool_of",
    "eas_tw.net.upstream.Upstream.has_another",
    "eas_tw.net.upstream.Upstream.record",
    "eas_tw.net.upstream.Pools.of",
    "eas_tw.policy.cluster.Cluster.choose",
    "eas_tw.policy.cluster.Cluster.record",
    "eas_tw.policy.health.Health.record",
    "eas_tw.policy.hedging.Hedging.observe",
    "eas_tw.policy.hedging.Hedging.is_late",
    "eas_tw.policy.retry.RetryBudget.record_call",
    "eas_tw.policy.retry.RetryBudget.spend",
    "eas_tw.policy.retry.RetryPolicy.decide",
    "eas_tw.policy.rotation.Rotation.choose",
]

KINDS = [
    RuntimeError,
    GeneratorExit,
    asyncio.CancelledError,
    CancelledError,
    StopIteration,
    SystemExit,
    KeyboardInterrupt,
]
ENDS_A_PROGRAM = (SystemExit, KeyboardInterrupt)


class Region(Harness):
    """A client with a reactor that continues after `SystemExit` and `KeyboardInterrupt`."""

    def __init__(self, n: int = 3, **settings: Any) -> None:
        super().__init__(n, **{"attempt_timeout_s": 3.0, "drain_timeout_s": 0.0, **settings})
        self.raised: list[BaseException] = []

    def advance(self, seconds: float = 0.0) -> None:
        for step in (seconds, *[0.0] * 5):
            try:
                self.reactor.advance(step)
            except ENDS_A_PROGRAM as error:
                self.raised.append(error)

    def serve(self, answer: bytes = response()) -> None:
        """Accept connections and respond until there are no more requests."""
        for _ in range(20):
            for dial in list(self.reactor.dials):
                dial.accept()
            for wire in list(self.reactor.wires):
                if wire.is_open and wire.take():
                    says(wire, answer)
            self.advance(0.3)

    def settle(self) -> None:
        """Advance the clock until all timers of a call have expired."""
        self.serve()
        self.advance(10.0)


def answered(region: Region) -> Result:
    call = region.call()
    region.serve()
    return call


def refused_once(region: Region) -> Result:
    call = region.call()
    for dial in region.reactor.dials[:1]:
        dial.fail()
    region.serve()
    return call


def unavailable(region: Region) -> Result:
    call = region.call()
    region.serve(response(503))
    return call


def cut_off(region: Region) -> Result:
    call = region.call()
    for dial in region.reactor.dials[:1]:
        dial.accept().lose(ConnectionError())
    region.serve()
    return call


def silent(region: Region) -> Result:
    """Make a call that is hedged at half of its time, and whose first attempt times out."""
    call = region.call()
    for _ in range(12):
        region.advance(0.5)
        for dial in list(region.reactor.dials):
            dial.accept()
    return call


def cancelled_in_line(region: Region) -> Result:
    call = region.call()
    call.deferred.cancel()
    return call


def cancelled_on_a_connection(region: Region) -> Result:
    call = region.call()
    for dial in region.reactor.dials[:1]:
        dial.accept()
    call.deferred.cancel()
    return call


SCENES = [answered, refused_once, unavailable, cut_off, silent, cancelled_in_line, cancelled_on_a_connection]


@pytest.mark.parametrize("path", BOUNDARIES)
def test_whatever_raises_at_a_boundary_ends_the_call_once(
    path: str, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    trap = Trap(monkeypatch, path)
    sprung = 0
    for scene in SCENES:
        for kind in (RuntimeError, asyncio.CancelledError, SystemExit):
            for is_after in (False, True):
                logged.clear()
                region = Region()
                answered(region)
                trap.sprung = False
                trap.arm(kind("planted"), is_after=is_after)
                call = scene(region)
                trap.error = None
                region.settle()
                where = f"{scene.__name__} {kind.__name__} {'after' if is_after else 'before'}"
                assert len(call.fired) == 1, where
                if isinstance(call.value, Failure):
                    assert isinstance(call.error, RequestFailed | CancelledError), (where, call.error)
                if trap.sprung:
                    sprung += 1
                    assert len(region.raised) == (kind in ENDS_A_PROGRAM), where
                    if path not in TWISTEDS_OWN:
                        assert logged == [kind.__name__], where
                counters = region.client.counters
                assert counters.calls == counters.answered + counters.failed.total(), where
                assert str(answered(region).value) == "ok", where
                closing = Result(region.client.close())
                region.settle()
                assert closing.fired, where
                assert not region.reactor.getDelayedCalls(), where
    assert sprung


TWISTEDS_OWN = {"tests.net.fleet.PuppetReactor.connectTCP"}
"""Boundaries whose exceptions are ordinary outcomes of an attempt. These exceptions are not logged."""


class Request:
    """A request of a caller, with any functions as its methods."""

    def __init__(self, parse: Callable[[bytes], Any], body: Callable[[], bytes] = lambda: b"x") -> None:
        self.parse_response = parse
        self.to_string = body


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_of_the_parser_fails_the_call(kind: type[BaseException], logged: list[str]) -> None:
    """The caller gets the exception, of any type. `StopIteration` is wrapped: a coroutine cannot raise it."""
    region = Region(1)
    call = Result(region.client.predict(Request(thrower(kind("mine")))))
    region.serve()
    assert type(call.error).__name__ == ("BodyError" if kind is StopIteration else kind.__name__)
    assert "mine" in str(call.error)
    assert region.client.counters.failed.total() == 1
    assert not region.raised
    assert not logged
    assert str(answered(region).value) == "ok"
    region.assert_clean()


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_of_to_string_fails_the_call(kind: type[BaseException]) -> None:
    """`predict` raises `SystemExit` and `KeyboardInterrupt` directly."""
    region = Region(1)
    request = Request(lambda body: body, thrower(kind("mine")))
    if kind in ENDS_A_PROGRAM:
        with pytest.raises(kind):
            region.client.predict(request)
    else:
        call = Result(region.client.predict(request))
        assert type(call.error).__name__ == ("BodyError" if kind is StopIteration else kind.__name__)
    assert not region.reactor.dials
    assert str(answered(region).value) == "ok"
    region.assert_clean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scene", SCENES)
def test_an_exception_of_a_listener_does_not_affect_calls(
    scene: Any, kind: type[BaseException], logged: list[str]
) -> None:
    plain, region = Region(), Region()
    answered(plain)
    answered(region)
    heard: list[str] = []
    stop = region.client.listen(thrower(kind("mine")))
    region.client.listen(lambda event: heard.append(type(event).__name__))
    expected, call = scene(plain), scene(region)
    for one in (plain, region):
        one.settle()
    assert type(getattr(call.value, "value", call.value)) is type(getattr(expected.value, "value", expected.value))
    assert logged == [kind.__name__] * len(heard)
    assert len(region.raised) == (len(heard) if kind in ENDS_A_PROGRAM else 0)
    stop()  # without this, `Closed` would be sent to the listener that raises
    region.assert_clean()
    plain.assert_clean()


def cancel(_: Region, call: Result) -> None:
    call.deferred.cancel()


def close(region: Region, _: Result) -> None:
    region.client.close()


def call_again(region: Region, _: Result) -> None:
    region.client.predict(b"again").addErrback(lambda _: None)


def cancel_and_close(region: Region, call: Result) -> None:
    cancel(region, call)
    close(region, call)


ACTS = [cancel, close, call_again, cancel_and_close]


class Late(Result):
    """The result of a call that may end before `predict` returns its Deferred."""

    def __init__(self) -> None:
        self.fired = []

    def attach(self, deferred: Any) -> None:
        super().__init__(deferred)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("event", [AttemptEnded, CallEnded, Ejected])
def test_a_listener_may_cancel_close_or_call_again(event: type, act: Any, scene: Any, logged: list[str]) -> None:
    """The call ends once, with the error that its event reports, and is counted once."""
    region = Region()
    answered(region)
    calls: list[Result] = []
    ends: list[str] = []
    acted: list[Any] = []
    predict = region.call

    def first_is_kept(**options: Any) -> Result:
        calls.append(predict(**options))
        return calls[-1]

    region.call = first_is_kept  # type: ignore[method-assign]

    def listener(happened: Any) -> None:
        if isinstance(happened, CallEnded):
            ends.append(happened.error)
        if isinstance(happened, event) and calls and not acted:
            acted.append(happened)
            act(region, calls[-1])

    region.client.listen(listener)
    call = scene(region)
    region.settle()
    assert len(call.fired) == 1
    error = type(call.error).__name__ if isinstance(call.value, Failure) else ""
    assert error in ends
    assert not logged
    counters = region.client.counters
    assert counters.calls == counters.answered + counters.failed.total()
    if act in (cancel, cancel_and_close) and event is AttemptEnded and scene is not answered:
        assert isinstance(call.error, CancelledError)
    Result(region.client.close())
    region.settle()
    assert not region.reactor.getDelayedCalls()
    assert not [wire for wire in region.reactor.wires if wire.is_open]


def test_a_call_that_is_cancelled_when_its_attempt_fails_is_not_retried() -> None:
    region = Region()
    call = region.call()
    region.client.listen(lambda event: call.deferred.cancel() if isinstance(event, AttemptEnded) else None)
    region.dial.fail()
    assert isinstance(call.error, CancelledError)
    assert not region.reactor.dials
    assert region.client.counters.failed == {"CancelledError": 1}
    region.assert_clean()


def test_a_call_cancelled_after_its_end_keeps_its_response() -> None:
    region = Region()
    call = region.call()
    region.client.listen(lambda event: call.deferred.cancel() if isinstance(event, CallEnded) else None)
    says(region.accept(), response())
    assert str(call.value) == "ok"
    assert (region.client.counters.answered, region.client.counters.failed) == (1, {})
    region.assert_clean()


@pytest.mark.parametrize("act", ACTS)
def test_a_parser_may_cancel_the_call_or_close_the_client(act: Any, logged: list[str]) -> None:
    region = Region(1)
    call = Late()

    def parse(body: bytes) -> bytes:
        act(region, call)
        return body

    call.attach(region.client.predict(Request(parse)))
    wire = region.accept()
    says(wire, response())
    if act is call_again:
        assert call.value == b"ok"
    else:
        assert isinstance(call.error, ClientClosed if act is close else CancelledError)
    counters = region.client.counters
    region.settle()
    assert counters.calls == counters.answered + counters.failed.total()
    assert not logged
    region.assert_clean()


@pytest.mark.parametrize("act", [close, call_again])
def test_a_callback_may_call_again_or_close_the_client(act: Any, logged: list[str]) -> None:
    region = Region(1)
    deferred = region.client.predict(b"x")
    deferred.addCallback(lambda _: act(region, call))
    call = Result(deferred)
    region.serve()
    assert call.fired == [None]
    assert not logged
    region.assert_clean()


def test_the_error_of_a_bug_says_what_was_raised(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    trap = Trap(monkeypatch, "eas_tw.policy.retry.RetryPolicy.decide")
    region = Region()
    call = region.call()
    planted = ZeroDivisionError("float division")
    trap.arm(planted, is_after=False)
    region.dial.fail()
    assert str(call.error).startswith("ZeroDivisionError was raised inside the client, see the log: float division;")
    assert call.error.__cause__ is planted
    assert len(call.error.attempts) == 1
    assert logged == ["ZeroDivisionError"]
    region.assert_clean()


def test_a_connection_that_cannot_write_is_a_lost_attempt(logged: list[str]) -> None:
    """The instance may have received the request, so only an idempotent call is retried on another instance."""
    for idempotent in (True, False):
        region = Region()
        call = region.call(idempotent=idempotent)
        dial = region.dial
        broken = dial.factory.buildProtocol

        def build(address: Any, make: Any = broken) -> Any:
            protocol = make(address)
            protocol.send = thrower(ValueError("no socket"))
            return protocol

        dial.factory.buildProtocol = build
        dial.accept()
        region.serve()
        if idempotent:
            assert str(call.value) == "ok"
            assert region.client.counters.retries == {"lost": 1}
        else:
            assert "the request could not be written: ValueError: no socket" in str(call.error)
        assert logged.pop() == "ValueError"
        region.assert_clean()


def test_a_call_ends_by_its_deadline_if_leaving_the_queue_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    trap = Trap(monkeypatch, "eas_tw.net.pool.Pool.withdraw")
    region = Region(1, timeout_s=2.0)
    calls = [region.call() for _ in range(3)]
    trap.arm(RuntimeError("planted"), is_after=False)
    region.advance(2.0)
    assert isinstance(calls[0].error, RequestFailed)
    assert all(isinstance(call.error, DeadlineExceeded) for call in calls[1:])
    region.assert_clean()


def test_an_address_for_which_connecting_raises_is_a_failed_connect(logged: list[str]) -> None:
    region = Region(3)
    dial = region.reactor.connectTCP

    def connect(host: str, *args: Any, **options: Any) -> Any:
        if host == "10.0.0.2":
            raise OSError("Name or service not known")
        return dial(host, *args, **options)

    region.reactor.connectTCP = connect  # type: ignore[method-assign]
    for _ in range(6):
        assert str(answered(region).value) == "ok"
    assert region.client.counters.retries.keys() == {"connect_failed"}
    assert region.client.counters.ejections.keys() == {"10.0.0.2:80"}
    assert not logged
    region.assert_clean()


def test_a_long_queue_for_an_address_that_cannot_be_dialled_does_not_recurse() -> None:
    region = Region(1, attempts=1, max_connections_per_instance=1)
    calls = [region.call() for _ in range(3000)]
    wire = region.dial.accept()
    region.reactor.connectTCP = thrower(OSError("Name or service not known"))  # type: ignore[method-assign]
    wire.lose()
    for _ in range(3000):
        region.advance()
    assert all(isinstance(call.error, RequestFailed) for call in calls)
    region.assert_clean()
