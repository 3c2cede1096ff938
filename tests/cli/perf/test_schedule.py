"""Due times of calls in an open loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas_tw.cli.perf.schedule import Schedule


def test_a_constant_rate_is_evenly_spaced_from_the_start() -> None:
    schedule = Schedule(start_s=10.0, rate_per_s=4.0)
    assert [schedule.time_of(number) for number in range(5)] == [10.0, 10.25, 10.5, 10.75, 11.0]


def test_the_spacing_does_not_drift_in_a_day() -> None:
    schedule = Schedule(start_s=0.0, rate_per_s=3.0)
    assert schedule.time_of(3 * 86_400) == 86_400.0


def test_a_ramp_has_half_the_calls_of_its_time_and_ends_at_the_full_rate() -> None:
    """In a ramp of 4 s to 8 calls per second, the rate at t seconds is 2 t, so t² calls are due by then."""
    schedule = Schedule(start_s=0.0, rate_per_s=8.0, ramp_s=4.0)
    assert [schedule.time_of(number) for number in (0, 1, 4, 9, 16)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [schedule.time_of(number) for number in (17, 18, 24)] == [4.125, 4.25, 5.0]


@pytest.mark.parametrize(
    ("time_s", "calls"), [(-1.0, 0), (0.0, 0), (0.01, 1), (1.0, 1), (1.01, 2), (4.0, 16), (5.0, 24)]
)
def test_the_calls_before_a_time_are_those_that_are_due_earlier(time_s: float, calls: int) -> None:
    assert Schedule(start_s=0.0, rate_per_s=8.0, ramp_s=4.0).calls_before(time_s) == calls


@given(
    start_s=st.floats(0, 1e6),
    rate=st.floats(0.01, 1e5),
    ramp_s=st.sampled_from((0.0, 0.3, 7.0)),
    after_s=st.floats(0, 1000),
)
def test_the_number_and_the_times_agree(start_s: float, rate: float, ramp_s: float, after_s: float) -> None:
    schedule = Schedule(start_s, rate, ramp_s)
    number = schedule.calls_before(start_s + after_s)
    assert schedule.time_of(number) >= start_s + after_s
    assert number == 0 or schedule.time_of(number - 1) < start_s + after_s
