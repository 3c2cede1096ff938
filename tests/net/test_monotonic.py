"""Timers by monotonic time on a reactor whose wall clock is stepped, and the thread that detects a step."""

from __future__ import annotations

import socket
import threading
import time  # noqa: TID251  the clock that is asked for by identity
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ClientFactory
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from eas_tw import ClientConfig, PredictClient
from eas_tw.net.clock_watch import ClockWatch
from eas_tw.net.deadlines import Deadlines
from eas_tw.net.discovery import Poller
from eas_tw.net.monotonic import MonotonicReactor, monotonic_view
from eas_tw.policy.instances import read_upstreams
from tests.net.calling import Result, response, says
from tests.net.stepping import WallClockReactor, stepping
from tests.net.test_discovery import Puppet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_timers_fire_when_their_time_has_passed() -> None:
    reactor, steady = stepping()
    fired: list[str] = []
    steady.callLater(2.0, fired.append, "late")
    steady.callLater(1.0, fired.append, "early")
    steady.callLater(0, fired.append, "now")
    reactor.pass_time(0.5)
    assert fired == ["now"]
    reactor.pass_time(0.5)
    assert fired == ["now", "early"]
    reactor.pass_time(1.0)
    assert fired == ["now", "early", "late"]
    assert not reactor.getDelayedCalls()


def test_no_timer_fires_early_when_the_clock_is_set_ahead() -> None:
    reactor, steady = stepping()
    fired: list[float] = []
    steady.callLater(5.0, lambda: fired.append(steady.seconds()))
    reactor.pass_time(1.0)
    reactor.step(30.0)
    reactor.pass_time(3.9)
    assert not fired
    reactor.pass_time(0.2)
    assert fired == [pytest.approx(5.0, abs=0.02)]


@pytest.mark.parametrize("delay_s", [0, 1.0])
def test_a_clock_set_back_delays_nothing_after_a_realignment(delay_s: float) -> None:
    """`callLater(0)` is tested, too, because the client uses it to write requests at the end of a reactor iteration."""
    reactor, steady = stepping()
    fired: list[float] = []
    steady.callLater(delay_s, lambda: fired.append(steady.seconds()))
    reactor.rightNow -= 600.0
    reactor.pass_time(0.5)
    assert not fired
    steady.look()
    reactor.pass_time(0.6)
    assert fired == [pytest.approx(max(0.51, delay_s), abs=0.02)]
    assert not reactor.getDelayedCalls()


class OneReadingReactor(WallClockReactor):
    """Reads its clock once an iteration, and runs new calls in that iteration, as Twisted's asyncio reactor does."""

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: list[Callable[[], Any]] = []

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        now, called = self.rightNow, 0
        threads, self.from_threads = self.from_threads, []
        for act in threads:
            act()
        self._sortCalls()
        while self.calls and self.calls[0].getTime() <= now:
            call: Any = self.calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)
            called += 1
            assert called < 100, "the turn does not end"

    def callFromThread(self, act: Callable[..., Any], *arguments: Any) -> None:  # noqa: N802
        self.from_threads.append(act)


@pytest.mark.parametrize("step_s", [-1.0, -600.0, -1e9])
def test_a_clock_set_back_within_a_turn_does_not_hold_up_the_reactor(step_s: float) -> None:
    reactor = OneReadingReactor()
    steady = MonotonicReactor(reactor, reactor.elapsed)
    fired: list[float] = []

    def act() -> None:
        reactor.rightNow += step_s
        for delay_s in (0.2, 0.4):
            steady.callLater(delay_s, lambda: fired.append(steady.seconds()))

    steady.callLater(1.0, act)
    reactor.pass_time(2.0)
    assert fired == [pytest.approx(1.2, abs=0.03), pytest.approx(1.4, abs=0.03)]
    assert not reactor.getDelayedCalls()


def test_a_small_clock_difference_is_not_corrected() -> None:
    """NTP slews a clock, so it runs slightly fast or slow without a step."""
    reactor, steady = stepping()
    woken: list[Any] = []
    reactor.callFromThread = woken.append  # type: ignore[method-assign]
    for _ in range(3):
        reactor.rightNow -= 0.03
        steady.look()
    assert not woken
    reactor.rightNow -= 0.03
    steady.look()
    assert len(woken) == 1


def test_a_timer_is_a_delayed_call() -> None:
    reactor, steady = stepping()
    fired: list[str] = []
    moved = steady.callLater(1.0, fired.append, "moved")
    cancelled = steady.callLater(1.0, fired.append, "cancelled")
    assert verifyObject(IReactorTime, steady)
    assert verifyObject(IDelayedCall, moved)
    assert moved.getTime() == pytest.approx(1.0)
    cancelled.cancel()
    assert not cancelled.active()
    with pytest.raises(AlreadyCancelled):
        cancelled.cancel()
    moved.delay(1.0)
    assert moved.getTime() == pytest.approx(2.0)
    moved.reset(3.0)
    reactor.pass_time(2.9)
    assert not fired
    assert moved.active()
    reactor.pass_time(0.2)
    assert fired == ["moved"]
    assert not moved.active()
    with pytest.raises(AlreadyCalled):
        moved.cancel()
    assert not reactor.getDelayedCalls()


def test_calls_of_earlier_reactor_iterations_are_released() -> None:
    reactor, steady = stepping()
    for _ in range(10_000):
        steady.callLater(0, int)
        reactor.advance(0)
    assert len(steady._soon) < 100


def test_polls_and_deadlines_continue_after_the_clock_is_set_back() -> None:
    reactor, steady = stepping()
    source, late = Puppet(), []
    poller = Poller(
        steady, source, service="svc", on_snapshot=lambda _: None, interval_s=1.0, jitter=0.0, rng=Random(1)
    )
    poller.start()
    source.answers()
    deadlines: Deadlines[str] = Deadlines(steady, late.append)
    deadlines.set("call", steady.seconds(), 2.0)
    reactor.step(-600.0)
    steady.look()
    for _ in range(3):
        reactor.pass_time(1.01)
        source.answers()
    assert source.asked == 4
    assert late == ["call"]
    assert poller.status.age_s == pytest.approx(0.0, abs=0.02)
    poller.stop()
    assert not reactor.getDelayedCalls()


class Looked(MonotonicReactor):
    """Records calls of `look`, and raises the error of a closed event loop."""

    def __init__(self) -> None:
        super().__init__(Clock(), time.monotonic)
        self.looked = threading.Event()

    def look(self) -> None:
        self.looked.set()
        raise RuntimeError("the event loop is closed")


def test_the_watch_has_a_thread_while_it_is_needed() -> None:
    watch = ClockWatch()
    watch.add(Clock(), 1.0)()
    assert watch._thread is None
    reactor = Looked()
    ends = [watch.add(reactor, 0.001), watch.add(Looked(), 5.0)]
    thread = watch._thread
    assert thread is not None
    assert reactor.looked.wait(30)
    reactor.looked.clear()
    assert reactor.looked.wait(30)
    for end in (*ends, *ends):
        end()
    assert not thread.is_alive()
    assert watch._thread is None


def test_only_a_real_reactor_with_a_settable_clock_is_wrapped() -> None:
    clock = Clock()
    assert monotonic_view(clock, time.monotonic) is clock
    reactor = ReactorBase.__new__(ReactorBase)
    assert isinstance(monotonic_view(reactor, time.monotonic), MonotonicReactor)
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    assert monotonic_view(reactor, time.monotonic) is reactor


def sent_date(client: PredictClient, reactor: Any) -> str:
    """Return the Date header of a signed request."""
    Result(client.predict(b"hello"))
    wire = reactor.dials[0].accept()
    reactor.pass_time(0.01)
    head = wire.take().decode()
    says(wire, response(200, b"ok"))
    return next(line for line in head.split("\r\n") if line.startswith("Date: "))


def test_the_date_of_a_signature_is_from_the_wall_clock() -> None:
    reactor, steady = stepping()
    wall = [1_700_000_000.0]
    rows = [("10.0.0.1", 80)]
    client = PredictClient(
        "", "svc", token="t", instances=rows, reactor=steady, wall_clock=lambda: wall[0], config=ClientConfig(seed=1)
    )
    child = client.child("other", token="t")
    for opened in (client, child):
        Result(opened.init())
    assert sent_date(client, reactor) == "Date: Tue, 14 Nov 2023 22:13:20 GMT"
    wall[0] += 86400
    client.set_token("u")
    Result(client.predict(b"hello"))
    reactor.pass_time(0.01)
    assert b"Date: Wed, 15 Nov 2023 22:13:20 GMT" in reactor.wires[0].take()
    assert child.wall_clock is client.wall_clock
    Result(client.close())
    reactor.pass_time(10)


def test_a_test_clock_is_also_the_wall_clock() -> None:
    clock = Clock()
    client = PredictClient("", "svc", instances=[("10.0.0.1", 80)], reactor=clock)
    assert client.clock is clock
    assert client.wall_clock() == 0.0
    assert read_upstreams(b'{"endpoints": {"items": [{"ip": "a", "port": 1, "weight": 1}]}}').instances


class Unanswered(ClientFactory):
    """Records how its connection attempt ended."""

    noisy = False

    def __init__(self) -> None:
        self.failed: list[Any] = []

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.failed.append(reason.value)


@pytest.fixture
def unanswered() -> Iterator[tuple[str, int]]:
    """Yield an address whose accept queue is full: a further connection is neither accepted nor refused."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        with socket.create_connection(listening.getsockname()[:2]):
            yield listening.getsockname()[:2]


def test_the_timeout_of_a_connection_is_elapsed_time(unanswered: tuple[str, int]) -> None:
    reactor = SelectReactor()
    now = [1000.0]
    steady = MonotonicReactor(reactor, lambda: now[0])
    factory = Unanswered()
    connector = steady.connectTCP(*unanswered, factory, timeout=1.0)
    (timer,) = steady._timers
    ahead = reactor.seconds() + 3600.0
    reactor.seconds = lambda: ahead  # type: ignore[method-assign]
    reactor.runUntilCurrent()
    assert (factory.failed, connector.state) == ([], "connecting")
    now[0] += 1.0
    steady.realign()
    reactor.runUntilCurrent()
    assert [type(error).__name__ for error in factory.failed] == ["TimeoutError"]
    assert not timer.active()
    reactor.removeAll()


def test_a_connection_that_is_refused_leaves_no_timer(unused_port: int) -> None:
    reactor = SelectReactor()
    steady = MonotonicReactor(reactor, lambda: 1000.0)
    factory = Unanswered()
    steady.connectTCP("127.0.0.1", unused_port, factory, timeout=1.0)
    for _ in range(100):
        reactor.iterate(0.01)
        if factory.failed:
            break
    assert [type(error).__name__ for error in factory.failed] == ["ConnectionRefusedError"]
    assert not steady._timers
    reactor.removeAll()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
