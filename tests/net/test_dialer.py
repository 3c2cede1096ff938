"""The dialer opens a bounded number of connections in each turn."""

from __future__ import annotations

from twisted.internet.task import Clock

from eas_tw.net.dialer import Dialer


class Dial:
    """Records when its connection is opened."""

    def __init__(self, begun: list[Dial]) -> None:
        self._begun = begun

    def connect(self) -> None:
        self._begun.append(self)


def turn(clock: Clock) -> None:
    """Run one turn of the reactor: the calls that are due now, without those that they schedule."""
    for call in clock.getDelayedCalls():
        clock.calls.remove(call)
        call.called = 1
        call.func()


def test_a_few_begin_at_once_and_need_no_timer() -> None:
    clock, begun = Clock(), list[Dial]()
    dialer = Dialer(clock)
    for round_ in (1, 2, 3):
        for _ in range(50):
            dialer.submit(Dial(begun))
        assert len(begun) == 50 * round_
        clock.advance(0.1)
    assert clock.getDelayedCalls() == []


def test_the_rest_follows_in_order() -> None:
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


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    clock, begun = Clock(), list[Dial]()
    dialer = Dialer(clock)
    clock.advance(1000.0)
    dialer.submit(Dial(begun))
    clock.rightNow = 10.0
    for _ in range(50):
        dialer.submit(Dial(begun))
    assert len(begun) == 51


def test_what_is_withdrawn_is_never_begun() -> None:
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
