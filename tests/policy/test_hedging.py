"""The delay of a hedge, and when a call is late."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw.policy.hedging import WINDOW, Hedging


def test_a_fixed_delay_does_not_depend_on_latencies() -> None:
    hedging = Hedging(0.05)
    for _ in range(100):
        hedging.observe(1.0)
    assert hedging.delay_s == 0.05


def test_hedging_can_be_switched_off() -> None:
    hedging = Hedging(None)
    assert (hedging.delay_s, hedging.hedge_points, hedging.is_learning) == (None, (), False)


def test_late_hedging_has_no_delay_unless_an_instance_is_suspect() -> None:
    hedging = Hedging("late")
    for _ in range(100):
        hedging.observe(0.01)
    assert hedging.delay_s is None
    assert hedging.hedge_points == (0.0625, 0.125, 0.25, 0.5, 0.75)
    hedging.set_wary(is_wary=True)
    assert hedging.delay_s == hedging.quick_s == 0.03
    hedging.set_wary(is_wary=False)
    assert hedging.delay_s is None


@pytest.mark.parametrize("after", ["p95", 0.05])
def test_a_configured_delay_does_not_depend_on_suspects(after: Any) -> None:
    hedging = Hedging(after)
    for _ in range(32):
        hedging.observe(0.04)
    before = hedging.delay_s
    hedging.set_wary(is_wary=True)
    assert hedging.delay_s == before


@pytest.mark.parametrize(
    ("latencies", "quick_s"),
    [
        ([0.01] * 7, None),
        ([0.01] * 8, 0.03),
        ([0.0005] * 200, 0.025),
        ([0.1] * 126 + [0.3] * 2, 0.9),
        ([0.1] * 254 + [3.0, 3.0], 0.3),
        ([0.1] * 253 + [3.0] * 3, 9.0),
    ],
    ids=["too few", "few", "below the least", "slow ones", "two of 256", "three of 256"],
)
def test_the_limit_of_silence_is_three_times_the_99th_percentile(latencies: list[float], quick_s: float | None) -> None:
    """The limit of silence is at least 25 ms, and is defined after eight responses."""
    hedging = Hedging("late")
    for latency_s in latencies:
        hedging.observe(latency_s)
    assert hedging.quick_s == (None if quick_s is None else pytest.approx(quick_s, rel=0.05))


@pytest.mark.parametrize(
    ("latencies", "waited_s", "elapsed_s", "is_silence"),
    [
        ([0.01] * 100, 0.029, 0.3125, False),
        ([0.01] * 100, 0.0301, 0.3125, True),
        ([0.5] * 100, 1.4, 1.4, False),
        ([0.5] * 100, 1.51, 1.51, True),
        ([], 2.4, 2.4, False),
        ([], 2.5, 2.5, True),
        ([], 0.3125, 2.8125, True),
        ([1.0] * 3, 2.5, 2.5, False),
        ([0.01] * 3, 2.5, 2.5, True),
        ([4.0] * 100, 4.9, 4.9, False),
        ([4.0] * 100 + [0.01], 2.5, 2.5, True),
        ([4.0] * 100 + [0.01], 2.4, 2.4, False),
    ],
    ids=[
        "not yet", "three times", "slow: not yet", "slow: three times", "nothing known: not before half of its time",
        "nothing known", "nothing known: the next", "few and slow", "few and fast", "slow by nature",
        "slow in an outage that is over", "the same, before half of its time",
    ],
)  # fmt: skip
def test_a_long_wait_is_silence(latencies: list[float], waited_s: float, elapsed_s: float, is_silence: bool) -> None:  # noqa: FBT001
    hedging = Hedging("late")
    for latency_s in latencies:
        hedging.observe(latency_s)
    assert hedging.is_silence(waited_s, elapsed_s, 5.0) is is_silence


def test_a_wait_is_no_silence_after_all_responses_have_become_slow() -> None:
    hedging = Hedging("late")
    for _ in range(256):
        hedging.observe(0.01)
    assert hedging.is_silence(0.5, 0.5, 5.0)
    for _ in range(32):
        hedging.observe(0.5)
    assert not hedging.is_silence(0.5, 0.5, 5.0)


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
def test_a_call_that_waits_long_is_late(after: Any, usual_s: float | None, waited_s: float, is_late: bool) -> None:  # noqa: FBT001
    hedging = Hedging(after)
    if usual_s is not None:
        hedging.observe(usual_s)
    assert hedging.is_late(waited_s, 5.0) is is_late


def test_a_few_slow_responses_do_not_change_the_usual_latency() -> None:
    hedging = Hedging("late")
    for number in range(200):
        hedging.observe(4.0 if number % 25 == 0 else 0.01)
    assert hedging.is_late(2.5, 5.0)
    for number in range(200):
        hedging.observe(4.0 if number % 10 == 0 else 0.01)
    assert not hedging.is_late(2.5, 5.0)


def test_the_percentile_is_defined_after_32_responses() -> None:
    hedging = Hedging("p95")
    assert hedging.is_learning
    for latency in range(1, 32):
        hedging.observe(latency / 1000)
    assert hedging.delay_s is None
    hedging.observe(0.032)
    assert hedging.delay_s == 0.031


def test_the_past_is_forgotten() -> None:
    """Only the last `WINDOW` responses are used."""
    hedging = Hedging("p95")
    for _ in range(WINDOW):
        hedging.observe(1.0)
    for _ in range(WINDOW):
        hedging.observe(0.001)
    assert hedging.delay_s == 0.001


def test_delays_are_rounded_to_few_values() -> None:
    delays = set()
    for step in range(1000):
        hedging = Hedging("p95")
        for _ in range(32):
            hedging.observe(0.1 + step / 10_000)
        delays.add(hedging.delay_s)
    assert len(delays) <= 12
