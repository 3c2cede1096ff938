"""Percentiles and their confidence intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas_tw.cli.perf.distribution import Distribution, rank_of

HUNDRED = Distribution.of((float(value), 1) for value in range(1, 101))


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 1), (1, 1), (50, 50), (50.1, 51), (99, 99), (99.9, 100), (100, 100)]
)
def test_percentiles_are_by_nearest_rank(share: float, value: float) -> None:
    assert HUNDRED.percentile(share) == value


def test_an_empty_distribution_has_no_percentiles() -> None:
    empty = Distribution.of(())
    assert (empty.count, empty.percentile(50), empty.interval(50)) == (0, None, None)


def test_calls_without_an_answer_are_slower_than_all_others() -> None:
    """Of 110 calls, 10 have no response: the 90th percentile is the 99th value, and the 95th is unknown."""
    assert HUNDRED.percentile(90, missing=10) == 99
    assert HUNDRED.percentile(95, missing=10) is None


@given(st.lists(st.integers(0, 50), min_size=1), st.floats(0.1, 100))
def test_percentiles_are_those_of_a_sorted_list(values: list[int], share: float) -> None:
    found = Distribution.of((float(value), 1) for value in values)
    assert found.percentile(share) == sorted(values)[rank_of(share, len(values)) - 1]


def test_a_rank_is_not_wrong_by_the_rounding_of_a_product() -> None:
    assert 99.9 * 41_000 / 100 > 40_959
    assert rank_of(99.9, 41_000) == 40_959


def test_an_interval_is_between_two_ranks() -> None:
    """With a probability of 95 %, 50 ± 1.96 · 5 of 100 values are below the median, so the ranks are 40 and 61."""
    assert HUNDRED.interval(50) == (40, 61)


@pytest.mark.parametrize(("count", "has_interval"), [(100, False), (1000, True)])
def test_there_is_no_interval_of_a_percentile_with_too_few_values_above(count: int, has_interval: bool) -> None:  # noqa: FBT001
    found = Distribution.of((float(value), 1) for value in range(count))
    assert (found.interval(99) is not None) == has_interval
