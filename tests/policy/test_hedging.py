"""When to hedge."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw.policy.hedging import WINDOW, Hedging


def test_a_fixed_delay_is_that() -> None:
    """Whatever is learned."""
    hedging = Hedging(0.05)
    for _ in range(100):
        hedging.observe(1.0)
    assert hedging.delay_s == 0.05


def test_one_at_a_time_is_one_at_a_time() -> None:
    """No delay, no mark, and nothing to learn."""
    hedging = Hedging(None)
    assert (hedging.delay_s, hedging.marks, hedging.is_learning) == (None, (), False)


def test_late_alone_has_no_delay() -> None:
    """Marks only."""
    hedging = Hedging("late")
    for _ in range(100):
        hedging.observe(0.01)
    assert hedging.delay_s is None
    assert hedging.marks == (0.5, 0.75)


@pytest.mark.parametrize(
    ("usual_s", "waited_s", "is_late"),
    [
        (None, 5.0, False),
        (0.01, 2.5, True),
        (0.01, 0.62, False),
        (0.625, 0.625, True),
        (0.63, 2.5, False),
        (4.0, 3.75, False),
    ],
    ids=["nothing learned", "gone", "not long", "just", "slower than an eighth", "slow by nature"],
)
@pytest.mark.parametrize("after", ["late", "p95", 0.05])
def test_who_is_late(after: Any, usual_s: float | None, waited_s: float, is_late: bool) -> None:  # noqa: FBT001
    """Of five seconds: answers take less than an eighth, and it has waited for more than that."""
    hedging = Hedging(after)
    if usual_s is not None:
        hedging.observe(usual_s)
    assert hedging.is_late(waited_s, 5.0) is is_late


def test_a_few_slow_answers_are_not_what_is_usual() -> None:
    """Nineteen of twenty decide, whatever the others take."""
    hedging = Hedging("late")
    for number in range(200):
        hedging.observe(4.0 if number % 25 == 0 else 0.01)
    assert hedging.is_late(2.5, 5.0)
    for number in range(200):
        hedging.observe(4.0 if number % 10 == 0 else 0.01)
    assert not hedging.is_late(2.5, 5.0)


def test_the_percentile_is_learned() -> None:
    """Not before there is something to learn from, and at two digits."""
    hedging = Hedging("p95")
    assert hedging.is_learning
    for latency in range(1, 32):
        hedging.observe(latency / 1000)
    assert hedging.delay_s is None
    hedging.observe(0.032)
    assert hedging.delay_s == 0.031


def test_the_past_is_forgotten() -> None:
    """A window of answers, not all of them."""
    hedging = Hedging("p95")
    for _ in range(WINDOW):
        hedging.observe(1.0)
    for _ in range(WINDOW):
        hedging.observe(0.001)
    assert hedging.delay_s == 0.001


def test_delays_are_few() -> None:
    """Whatever the latencies, calls share their deadlines' queues."""
    delays = set()
    for step in range(1000):
        hedging = Hedging("p95")
        for _ in range(32):
            hedging.observe(0.1 + step / 10_000)
        delays.add(hedging.delay_s)
    assert len(delays) <= 12
