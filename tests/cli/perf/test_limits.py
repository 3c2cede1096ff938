"""`eas-tw perf --fail-if`."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw import ConfigError, ConnectionFailed
from eas_tw.cli.perf.distribution import Distribution
from eas_tw.cli.perf.figures import Figures
from eas_tw.cli.perf.in_flight import EndedCall
from eas_tw.cli.perf.instances import InstanceTable
from eas_tw.cli.perf.limits import covers_errors, parse, violations
from eas_tw.cli.perf.plan import Load
from eas_tw.cli.perf.recorder import Recorder


def figures(answered: int = 98, failed: int = 2, **changes: Any) -> Figures:
    """Return the results of calls that took 1, 2, 3 … ms, in a measurement of 2 s."""
    recorder = Recorder()
    for number in range(1, answered + 1):
        recorder.record(EndedCall(0.0, 0.0, number / 1000))
    for _ in range(failed):
        recorder.record(EndedCall(0.0, 0.0, 0.0001, ConnectionFailed("refused")))
    settings: dict[str, Any] = {"unsent": 0, "unfinished": 0, "oldest_s": 0.0, "cpu_share": 0.1, **changes}
    table = InstanceTable(lambda: 0.0, 0.0)
    return Figures(Load(8), recorder, table, elapsed_s=2.0, lag=Distribution.of(()), **settings)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("p50>50.1ms", ""),
        ("p50>49ms", "p50>49ms: it is 50.0"),
        ("p50 >= 0.0490s", "p50 >= 0.0490s: it is 50.0"),
        ("p90<100ms", "p90<100ms: it is 90.0"),
        ("p99>10s", "p99>10s: it is unbounded, because 2.00% of the calls were not answered"),
        ("max>10s", "unbounded"),
        ("mean>49000us", "it is 49.500 ms"),
        ("mean>50ms", ""),
        ("errors>1%", "errors>1%: it is 2.00%"),
        ("errors>0.02", ""),
        ("errors>=0.02", "it is 2.00%"),
        ("rate<49", ""),
        ("rate<49.5/s", "it is 49.0/s"),
        ("first-byte-p50>1ms", "there is no value, because the calls were no streams"),
        ("tokens<1", "it is 0.0/s"),
    ],
)
def test_a_violated_limit_is_a_sentence_with_the_value(limit: str, says: str) -> None:
    said = violations([parse(limit)], figures())
    assert bool(said) == bool(says)
    assert says in "".join(said)


def test_a_service_cannot_meet_a_limit_by_failing_fast() -> None:
    """10 of 100 calls fail within 0.1 ms. p90 is the time of the slowest response, not of the 90 fastest calls."""
    found = figures(answered=90, failed=10)
    assert found.time("", "p90") == pytest.approx(0.090, rel=1e-3)
    assert found.time("", "p91") == float("inf")


def test_calls_that_were_not_sent_count_as_not_answered() -> None:
    found = figures(answered=90, failed=0, unsent=10)
    assert (found.error_share, found.time("", "p91")) == (0.1, float("inf"))
    assert "10 calls were due and were not sent" in found.warnings[0]


def test_a_percentile_without_any_response_has_no_value() -> None:
    assert violations([parse("mean>1ms")], figures(answered=0, failed=3)) == [
        "mean>1ms: there is no value, because no call was answered"
    ]


@pytest.mark.parametrize(
    "text",
    ["", "p99", "p99>", "p99>50", "p99>50m", "p0>1ms", "p101>1ms", "p99=5ms", "errors>5ms", "rate>5%", "speed>5",
     "p99>..ms", "first-byte-errors>1", "gap-mean"],
)  # fmt: skip
def test_a_wrong_limit_is_one_line_that_shows_right_ones(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--fail-if must be .*p99>50ms.*; got") as raised:
        parse(text)
    assert "\n" not in str(raised.value)


def test_only_a_limit_for_errors_says_how_many_calls_may_fail() -> None:
    assert covers_errors([parse("p99>1s"), parse("errors>1%")])
    assert not covers_errors([parse("p99>1s")])
