"""Distributions of durations: parsing, validation, and drawing."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from simulator.durations import Duration, DurationError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.5, Duration("constant", (0.5,))),
        ("0.5", Duration("constant", (0.5,))),
        ("constant:2", Duration("constant", (2.0,))),
        ("uniform:1,2", Duration("uniform", (1.0, 2.0))),
        ("exponential:0.1", Duration("exponential", (0.1,))),
        ("lognormal:0.02,0.2", Duration("lognormal", (0.02, 0.2))),
        ({"value_s": 3}, Duration("constant", (3,))),
        ({"distribution": "uniform", "low_s": 0, "high_s": 1}, Duration("uniform", (0, 1))),
        ({"distribution": "lognormal", "median_s": 0.02, "p99_s": 0.2}, Duration("lognormal", (0.02, 0.2))),
    ],
)
def test_every_form(given: Any, expected: Duration) -> None:
    """A duration is a number, a text in the form of the command line, or a table in the form of a scenario."""
    assert Duration.parse(given) == expected
    assert Duration.parse(expected) is expected


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (-1, "value_s: expected a number ≥ 0 and ≤ 3600, in seconds, got -1"),
        (True, "value_s: expected a number"),
        (None, "value_s: expected a number"),
        ("soon", "expected a number of seconds, or such as lognormal:0.02,0.2, got 'soon'"),
        ("inf", "value_s: expected a number ≥ 0"),
        ("nan", "value_s: expected a number ≥ 0"),
        ("normal:1,2", "distribution: expected one of constant, uniform, exponential, lognormal"),
        ("uniform:1", "uniform takes low_s, high_s, got 1 numbers"),
        ("uniform:2,1", "high_s: expected a number ≥ 2"),
        ("lognormal:0,1", "median_s: expected a number > 0"),
        ({"distribution": "uniform", "low_s": 0}, "high_s: missing; uniform takes low_s, high_s"),
        ({"distribution": "uniform", "mean_s": 0}, "mean_s: unknown; uniform takes low_s, high_s"),
        ({"distribution": 5}, "distribution: expected one of"),
    ],
)
def test_the_error_of_an_invalid_duration_names_the_problem(given: Any, says: str) -> None:
    with pytest.raises(DurationError) as caught:
        Duration.parse(given)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("text", "median", "p99"),
    [
        ("2", 2.0, 2.0),
        ("uniform:1,3", 2.0, 2.98),
        ("exponential:1", 0.693, 4.605),
        ("exponential:0", 0.0, 0.0),
        ("lognormal:0.02,0.2", 0.02, 0.2),
    ],
)
def test_draws_have_the_given_quantiles(text: str, median: float, p99: float) -> None:
    """The quantiles of 20,000 draws are within 10 %."""
    rng, duration = Random(5), Duration.parse(text)
    drawn = sorted(duration.draw(rng) for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(median, rel=0.1)
    assert drawn[19_800] == pytest.approx(p99, rel=0.1)


def test_the_default_takes_no_time() -> None:
    assert Duration().is_nothing
    assert not Duration.parse("exponential:1").is_nothing
