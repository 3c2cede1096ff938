"""HDR and compact histograms: their precision, size and encoded form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw.cli.perf.histogram import CompactHistogram, Histogram, decoded

SECONDS = st.lists(st.floats(0, 3600), min_size=1, max_size=50)


@settings(max_examples=20)
@given(SECONDS)
def test_an_hdr_histogram_has_three_digits(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)
    for found, rank in ((histogram.distribution().at_rank(rank), rank) for rank in range(1, len(values) + 1)):
        assert found == pytest.approx(exact[rank - 1], rel=1e-3, abs=1e-6)
    assert (len(histogram), histogram.max_s) == (len(values), max(values))
    assert histogram.mean_s == pytest.approx(sum(values) / len(values))


@given(SECONDS)
def test_a_compact_histogram_has_two_digits(values: list[float]) -> None:
    histogram = CompactHistogram()
    for value in values:
        histogram.record(value)
    found = histogram.distribution()
    for rank, value in enumerate(sorted(values), 1):
        assert found.at_rank(rank) == pytest.approx(value, rel=8e-3, abs=1e-6)
    assert (histogram.count, histogram.max_s) == (len(values), max(values))


def test_the_size_of_a_compact_histogram_is_bounded() -> None:
    histogram = CompactHistogram()
    for value in range(200_000):
        histogram.record(value / 1000)
    assert len(histogram.distribution().values) < 2500


@settings(max_examples=20)
@given(SECONDS, SECONDS)
def test_the_sum_of_two_compact_histograms_is_that_of_all_values(first: list[float], second: list[float]) -> None:
    one, two, both = CompactHistogram(), CompactHistogram(), CompactHistogram()
    for histogram, values in ((one, first), (two, second), (both, first + second)):
        for value in values:
            histogram.record(value)
    one.add(two)
    assert one.distribution() == both.distribution()
    large = Histogram()
    large.add(one)
    assert (len(large), large.max_s) == (one.count, one.max_s)
    assert large.mean_s == pytest.approx(sum(first + second) / len(first + second))


def test_a_histogram_can_be_read_from_its_encoded_form() -> None:
    histogram = Histogram()
    for value in (0.0, 0.001, 0.001, 0.25, 3599.0):
        histogram.record(value)
    before, after = histogram.distribution(), decoded(histogram.encoded())
    assert after.cumulative == before.cumulative
    assert after.values == pytest.approx(before.values, rel=1e-3)


def test_what_takes_longer_than_an_hour_is_counted_as_an_hour() -> None:
    histogram = Histogram()
    histogram.record(5000.0)
    assert histogram.distribution().percentile(50) == pytest.approx(3600, rel=1e-3)
    assert histogram.max_s == 5000.0


@pytest.mark.parametrize("text", ["", "x", "HISTFAAA", "HISTFAAAAB542pNpmSzMwMDAxAABjFDaBEoz2UOYANEoAzE="])
def test_other_text_is_no_histogram(text: str) -> None:
    with pytest.raises(ValueError, match="not an HDR histogram"):
        decoded(text)
