"""When to hedge."""

from __future__ import annotations

from eas_tw.policy.hedging import WINDOW, Hedging


def test_a_fixed_delay_is_that() -> None:
    """And nothing is learned."""
    assert Hedging(0.05).delay_s == 0.05
    assert not Hedging(0.05).is_learning
    assert Hedging(None).delay_s is None


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
