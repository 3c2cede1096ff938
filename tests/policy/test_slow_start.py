"""Slow start: the share of an instance grows in steps to its full weight."""

from __future__ import annotations

from eas_tw.policy.slow_start import SlowStart

A, B = ("10.0.0.1", 80), ("10.0.0.2", 80)


def test_the_share_grows_from_a_tenth_to_the_whole() -> None:
    warm = SlowStart(10.0)
    warm.begin([A], 100.0)
    shares = []
    for now in range(100, 111):
        warm.due(float(now))
        shares.append(warm.shares(float(now)).get(A, 1.0))
    assert shares == [0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_each_step_is_returned_once() -> None:
    warm = SlowStart(10.0)
    warm.begin([A], 0.0)
    warm.begin([B], 0.0)
    assert warm.due(0.5) == ()
    assert warm.due(1.0) == (A, B)
    assert warm.due(1.5) == ()
    assert warm.due(50.0) == (A, B)
    assert warm.due(100.0) == ()
    assert warm.shares(100.0) == {}


def test_a_window_of_0_s_disables_slow_start() -> None:
    """An instance has its full share from the start."""
    warm = SlowStart(0.0)
    warm.begin([A], 0.0)
    assert warm.due(1e9) == ()
    assert warm.shares(0.0) == {}


def test_removed_instances_are_forgotten() -> None:
    warm = SlowStart(10.0)
    warm.begin([A, B], 0.0)
    warm.forget([A])
    assert warm.due(1.0) == (B,)
