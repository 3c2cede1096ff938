"""Outlier detection: instances that are worse than the other instances although they do not fail completely."""

from __future__ import annotations

import pytest

from eas_tw.policy.outliers import INTERVAL_S, MIN_CALLS, Outliers

KEYS = [("10.0.0.1", port) for port in range(6)]


def swept(
    made: Outliers, rows: list[tuple[float, float]], *, calls: int = 100, fleet: int = 6
) -> tuple[tuple[str, int], ...]:
    """Record calls for one interval, with each instance's share of good responses and latency. Return the outliers."""
    assert made.sweep(0.0, KEYS) == ()
    for key, (share, latency_s) in zip(KEYS, rows, strict=False):
        for call in range(calls):
            made.record(key, latency_s, is_good=call < share * calls)
    assert made.sweep(INTERVAL_S - 0.1, KEYS) == ()
    return made.sweep(INTERVAL_S, KEYS[:fleet])


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([(1.0, 0.1), (1.0, 0.1), (0.7, 0.1)], [2]),
        ([(1.0, 0.1), (1.0, 0.1), (0.9, 0.1)], []),
        ([(0.3, 0.1), (0.3, 0.1), (0.3, 0.1)], []),
        ([(1.0, 0.1), (0.0, 0.1)], []),
        ([(1.0, 0.1), (1.0, 0.1), (0.9, 0.1), (0.6, 0.1), (0.4, 0.1)], [4, 3]),
    ],
)
def test_success(rows: list[tuple[float, float]], found: list[int]) -> None:
    """There is no outlier if all instances are equally bad, or if there are only two instances."""
    assert swept(Outliers(0.2, None), rows) == tuple(KEYS[index] for index in found)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([(1.0, 0.1), (1.0, 0.1), (1.0, 0.31)], [2]),
        ([(1.0, 0.1), (1.0, 0.1), (1.0, 0.29)], []),
        ([(1.0, 0.1), (1.0, 0.1), (0.1, 9.9)], []),
        ([(1.0, 0.5), (1.0, 0.1), (1.0, 0.1), (1.0, 0.9), (1.0, 0.1)], [3, 0]),
    ],
)
def test_latency(rows: list[tuple[float, float]], found: list[int]) -> None:
    """The limit is three times the median. Instances with few good responses are not considered."""
    assert swept(Outliers(None, 3.0), rows) == tuple(KEYS[index] for index in found)


def test_an_instance_with_few_calls_is_no_outlier() -> None:
    rows = [(1.0, 0.1), (1.0, 0.1), (0.0, 0.1)]
    assert swept(Outliers(0.2, None), rows, calls=MIN_CALLS - 1) == ()
    assert swept(Outliers(0.2, None), rows, fleet=2) == ()


def test_each_interval_is_evaluated_separately() -> None:
    made = Outliers(0.2, None)
    assert swept(made, [(1.0, 0.1), (1.0, 0.1), (0.0, 0.1)]) == (KEYS[2],)
    assert made.sweep(2 * INTERVAL_S, KEYS) == ()
