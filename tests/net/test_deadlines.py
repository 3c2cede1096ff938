"""`Deadlines`: one timer for all deadlines of the same duration, and their hedge points."""

from __future__ import annotations

from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from eas_tw.net.deadlines import Deadlines


class Harness:
    """Deadlines with hedge points at 1/2 and 3/4, and a record of each callback with its time."""

    def __init__(self, stages: tuple[float, ...] = (0.5, 0.75)) -> None:
        self.clock = Clock()
        self.told: list[tuple[float, str, object]] = []
        self.deadlines: Deadlines[object] = Deadlines(self.clock, self._note("end"), stages, self._note("mark"))

    def _note(self, what: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return lambda who: self.told.append((round(self.clock.seconds(), 9), what, who))

    def set(self, who: object, after_s: float = 4.0) -> None:
        self.deadlines.set(who, self.clock.seconds(), after_s)

    def run(self, *steps_s: float) -> None:
        self.clock.pump(steps_s)


def test_hedge_points_are_reported_in_order_before_the_deadline() -> None:
    harness = Harness()
    harness.set("a")
    harness.run(*[0.5] * 10)
    assert harness.told == [(2.0, "mark", "a"), (3.0, "mark", "a"), (4.0, "end", "a")]
    assert not harness.clock.getDelayedCalls()
    assert not harness.deadlines


def test_a_duration_whose_timer_could_not_be_set_is_not_stored() -> None:
    """A later deadline of the same duration sets a timer again."""
    harness = Harness()
    call_later = harness.clock.callLater
    harness.clock.callLater = raises  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        harness.set("a")
    harness.clock.callLater = call_later  # type: ignore[method-assign]
    assert not harness.deadlines
    harness.set("b")
    harness.run(4.0)
    assert harness.told[-1] == (4.0, "end", "b")


def raises(*_: object) -> NoReturn:
    raise MemoryError


def test_a_cleared_deadline_is_not_reported() -> None:
    harness = Harness()
    harness.set("a")
    harness.set("b")
    harness.run(1.0)
    harness.deadlines.clear("a", 4.0)
    harness.run(1.0)
    harness.deadlines.clear("b", 4.0)
    harness.run(5.0)
    assert harness.told == [(2.0, "mark", "b")]
    assert not harness.clock.getDelayedCalls()


def test_after_a_stall_only_the_deadline_is_reported() -> None:
    harness = Harness()
    harness.set("a")
    harness.run(60.0)
    assert harness.told == [(60.0, "end", "a")]


def test_deadlines_of_the_same_duration_share_one_timer() -> None:
    harness = Harness(stages=())
    for who in range(1000):
        harness.set(who)
    assert len(harness.clock.getDelayedCalls()) == 1
    assert list(harness.deadlines) == list(range(1000))
    harness.run(4.0)
    assert [who for _, _, who in harness.told] == list(range(1000))


def test_a_callback_may_set_a_deadline() -> None:
    harness = Harness(stages=(0.5,))
    again = Deadlines(harness.clock, lambda who: again.set(who + 1, harness.clock.seconds(), 1.0) if who < 3 else None)  # type: ignore[operator, var-annotated]
    again.set(0, 0.0, 1.0)
    harness.run(*[1.0] * 5)
    assert not again
    assert not harness.clock.getDelayedCalls()


@pytest.mark.parametrize("when", ["before", "inside"])
def test_stopping_removes_the_timer_and_all_entries(when: str) -> None:
    clock = Clock()
    told: list[object] = []

    def end(who: object) -> None:
        told.append(who)
        deadlines.stop()

    deadlines: Deadlines[object] = Deadlines(clock, end)
    for who in "abc":
        deadlines.set(who, 0.0, 1.0)
    if when == "before":
        deadlines.stop()
    clock.advance(5.0)
    assert told == ([] if when == "before" else ["a"])
    assert not deadlines
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("kind", [RuntimeError, GeneratorExit, SystemExit])
def test_a_callback_that_raises_does_not_stop_other_deadlines(kind: type[BaseException], logged: list[str]) -> None:
    """Deadlines that expire at the same time are reported in the same reactor iteration, and later ones on time."""
    clock, served = Clock(), []

    def serve(who: str) -> None:
        served.append((clock.seconds(), who))
        if who == "a":
            raise kind

    deadlines: Deadlines[str] = Deadlines(clock, serve, (0.5,), serve)
    for who in "abc":
        deadlines.set(who, clock.seconds(), 4.0)
    clock.advance(1.0)
    deadlines.set("d", clock.seconds(), 4.0)
    for _ in range(20):
        try:
            clock.advance(0.5)
        except SystemExit:
            assert kind is SystemExit
    at_half = [(2.0, who) for who in "abc"] + [(3.0, "d")]
    assert served == at_half + [(4.0, who) for who in "abc"] + [(5.0, "d")]
    assert logged == [kind.__name__] * 2
    assert not deadlines
    assert not clock.getDelayedCalls()


@given(st.lists(st.tuples(st.sampled_from(["set", "clear", "pass"]), st.integers(0, 5), st.sampled_from([1.0, 3.0]))))
def test_each_deadline_is_reported_once_and_on_time(steps: list[tuple[str, int, float]]) -> None:
    harness = Harness()
    pending: dict[tuple[int, float], float] = {}
    expected: list[tuple[float, str, object]] = []

    def pass_to(to_s: float) -> None:
        due = sorted(
            (began + share * key[1], what, key)
            for key, began in pending.items()
            for share, what in ((0.5, "mark"), (0.75, "mark"), (1.0, "end"))
            if harness.clock.seconds() < began + share * key[1] <= to_s
        )
        expected.extend(due)
        for at_s, what, key in due:
            if what == "end" and pending.get(key, -1.0) + key[1] == at_s:
                del pending[key]
        while harness.clock.seconds() < to_s:
            harness.clock.advance(0.25)

    for what, who, after_s in steps:
        key = (who, after_s)
        if what == "set" and key not in pending:
            pending[key] = harness.clock.seconds()
            harness.set(key, after_s)
        elif what == "clear" and key in pending:
            del pending[key]
            harness.deadlines.clear(key, after_s)
        elif what == "pass":
            pass_to(harness.clock.seconds() + 0.5 * (who + 1))
    pass_to(harness.clock.seconds() + 4.0)
    assert sorted(harness.told, key=str) == sorted(expected, key=str)
    assert not harness.clock.getDelayedCalls()


def test_the_number_of_empty_queues_is_bounded() -> None:
    """A program may give each call a different timeout, so empty queues are removed when there are many queues."""
    harness = Harness()
    harness.set("stays", 3600.5)
    for number in range(10_000):
        after_s = 3600 + number / 1e5
        harness.set("goes", after_s)
        harness.deadlines.clear("goes", after_s)
    assert len(harness.deadlines._queues) <= 130
    assert len(harness.clock.getDelayedCalls()) <= 130
    harness.clock.pump([600.0] * 7)
    assert [who for _, what, who in harness.told if what == "end"] == ["stays"]
    assert not harness.clock.getDelayedCalls()


def test_a_queue_may_be_dropped_while_it_is_swept() -> None:
    """When a deadline expires, its callback may set deadlines of the same duration and of other durations."""
    harness = Harness(())
    deadlines = harness.deadlines

    def expire(who: object) -> None:
        harness.told.append((harness.clock.seconds(), "end", who))
        if who == "first":
            for number in range(200):
                deadlines.set(number, harness.clock.seconds(), 10.0 + number)
            deadlines.set("again", harness.clock.seconds(), 1.0)

    deadlines._expire = expire
    harness.set("first", 1.0)
    harness.run(1.0, 1.0)
    assert harness.told == [(1.0, "end", "first"), (2.0, "end", "again")]
    deadlines.stop()
    assert not harness.clock.getDelayedCalls()
