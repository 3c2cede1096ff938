"""The scheduler of virtual time: order, cancellation, rescheduling, and errors."""

from __future__ import annotations

import pytest
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface.verify import verifyObject

from simulator.virtual.network.virtual_time import EPOCH_S, Scheduler


def test_events_happen_in_order_and_see_their_own_time() -> None:
    scheduler, seen = Scheduler(), []
    for delay in (2, 1, 1, 3):
        scheduler.call_later(delay, lambda name: seen.append((name, scheduler.seconds() - EPOCH_S)), len(seen) or delay)
    scheduler.run_for(2.5)
    assert [at for _, at in seen] == [1, 1, 2]
    assert scheduler.seconds() == EPOCH_S + 2.5
    assert len(scheduler.pending) == 1


def test_delayed_calls_are_delayed_calls() -> None:
    scheduler, seen = Scheduler(), []
    event = scheduler.call_later(1, seen.append, "late")
    verifyObject(IDelayedCall, event)
    event.delay(2)
    scheduler.run_for(1.5)
    event.reset(3)
    scheduler.run_for(2.9)
    assert seen == []
    scheduler.run_for(0.2)
    assert seen == ["late"]
    with pytest.raises(AlreadyCalled):
        event.cancel()
    cancelled = scheduler.call_later(1, seen.append, "never")
    cancelled.cancel()
    with pytest.raises(AlreadyCancelled):
        cancelled.reset(1)
    scheduler.run_for(5)
    assert (seen, scheduler.pending) == (["late"], [])


def test_exceptions_of_events_are_collected() -> None:
    scheduler, seen = Scheduler(), []
    scheduler.call_later(1, lambda: 1 / 0)
    scheduler.call_later(2, seen.append, 1)
    scheduler.run_for(3)
    assert [type(error) for error in scheduler.errors] == [ZeroDivisionError]
    assert seen == [1]


def test_streams_are_independent_and_seeded() -> None:
    one, two = Scheduler(7), Scheduler(7)
    one.stream("a").random()
    assert one.stream("b").random() == two.stream("b").random()
    assert Scheduler(8).stream("b").random() != two.stream("c").random()


def test_all_log_lines_are_hashed_and_the_last_are_stored() -> None:
    one, two = Scheduler(), Scheduler()
    for number in range(1000):
        one.log(f"line {number}")
        two.log(f"line {number + (number == 0)}")
    assert one.digest != two.digest
    assert one.tail[-1] == two.tail[-1] == "0.000000 line 999"
