"""The dialer opens at most 50 connections in each reactor iteration."""

from __future__ import annotations

from twisted.internet.task import Clock

from eas_tw.net.dialer import Dialer


class Dial:
    """Appends itself to a list when `connect` is called."""

    def __init__(self, begun: list[Dial]) -> None:
        self._begun = begun

    def connect(self) -> None:
        self._begun.append(self)


def turn(clock: Clock) -> None:
    """Run one reactor iteration: the delayed calls that are due, without those that they schedule."""
    for call in clock.getDelayedCalls():
        clock.calls.remove(call)
        call.called = 1
        call.func()


def test_up_to_50_connections_are_opened_immediately_without_a_timer() -> None:
    clock, begun = Clock(), list[Dial]()
    dialer = Dialer(clock)
    for round_ in (1, 2, 3):
        for _ in range(50):
            dialer.submit(Dial(begun))
        assert len(begun) == 50 * round_
        clock.advance(0.1)
    assert clock.getDelayedCalls() == []


def test_further_connections_are_opened_in_order_in_later_iterations() -> None:
    clock, begun = Clock(), list[Dial]()
    dialer = Dialer(clock)
    dials = [Dial(begun) for _ in range(10_000)]
    for dial in dials:
        dialer.submit(dial)
    turns = 0
    while clock.getDelayedCalls():
        before = len(begun)
        turn(clock)
        assert len(begun) == before + 50
        turns += 1
    assert begun == dials
    assert turns == 199


def test_connections_are_opened_after_the_clock_was_set_back() -> None:
    clock, begun = Clock(), list[Dial]()
    dialer = Dialer(clock)
    clock.advance(1000.0)
    dialer.submit(Dial(begun))
    clock.rightNow = 10.0
    for _ in range(50):
        dialer.submit(Dial(begun))
    assert len(begun) == 51


def test_a_withdrawn_connection_is_not_opened() -> None:
    clock, begun = Clock(), list[Dial]()
    dialer = Dialer(clock)
    dials = [Dial(begun) for _ in range(53)]
    for dial in dials:
        dialer.submit(dial)
    assert [dialer.withdraw(dial) for dial in dials[49:51]] == [False, True]
    assert len(clock.getDelayedCalls()) == 1
    assert [dialer.withdraw(dial) for dial in dials[51:]] == [True, True]
    assert clock.getDelayedCalls() == []
    assert begun == dials[:50]
