"""`eas-tw perf compare`, which compares two results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from eas_tw.cli import main
from eas_tw.cli.perf.comparison import Sample, conclusion, error_conclusion
from eas_tw.cli.perf.distribution import Distribution
from eas_tw.cli.perf.plan import Load
from tests.cli.perf.test_output import result, step

if TYPE_CHECKING:
    from pathlib import Path

HUNDRED = Distribution.of((100 + value, 1) for value in range(100))


def moved(by: float) -> Distribution:
    return Distribution.of((value + by, 1) for value in HUNDRED.values)


@pytest.mark.parametrize(
    ("by", "tolerance", "says"),
    [
        (0, 0.05, "no difference"),
        (20, 0.05, "no difference"),  # the interval of the median is ± 10 for each, so the two overlap
        (25, 0.05, "slower"),
        (25, 0.2, "no difference"),  # the difference of 17 % is within the tolerance
        (-25, 0.05, "faster"),
    ],
)
def test_a_difference_exceeds_the_intervals_and_the_tolerance(by: float, tolerance: float, says: str) -> None:
    assert conclusion(Sample(HUNDRED), Sample(moved(by)), 50, tolerance) == says


def test_a_percentile_of_too_few_calls_has_no_conclusion() -> None:
    assert conclusion(Sample(HUNDRED), Sample(moved(1000)), 99, 0.05) == "too few calls"


def test_a_service_that_fails_fast_is_not_faster() -> None:
    """Half of the calls have no response. They count as infinitely slow, so percentiles above the 50th are infinite."""
    failing = Sample(moved(-50), missing=100)
    assert failing.percentile(50) == 149
    assert failing.percentile(75) == float("inf")
    assert conclusion(Sample(HUNDRED), failing, 75, 0.05) == "slower"
    assert conclusion(failing, Sample(HUNDRED), 75, 0.05) == "faster"
    assert conclusion(failing, failing, 75, 0.05) == "no difference"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ((0, 1000), (0, 1000), "no difference"),
        ((0, 1000), (3, 1000), "no difference"),
        ((0, 1000), (20, 1000), "more errors"),
        ((20, 1000), (0, 1000), "fewer errors"),
        ((0, 0), (1, 1), "too few calls"),
    ],
)
def test_error_shares_are_compared_by_their_intervals(
    before: tuple[int, int], after: tuple[int, int], says: str
) -> None:
    assert error_conclusion(before, after) == says


def write(file: Path, *steps: Any, **changes: Any) -> Path:
    file.write_text(json.dumps(result(*steps, **changes)))
    return file


def test_the_same_result_twice_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a.json")
    assert main(["perf", "compare", str(first), str(first)]) == 0
    told, said = capsys.readouterr()
    rows = [line.split(maxsplit=6) for line in told.splitlines()]
    assert rows[1] == ["p50", "50.015", "ms", "50.015", "ms", "+0.0%", "no difference"]
    assert rows[-1][0] == "errors"
    assert said == ""


def test_a_worse_result_is_exit_code_1_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write(tmp_path / "a.json"), write(tmp_path / "b.json", step(failures=40))
    assert main(["perf", "compare", str(first), str(second), "--output", "json"]) == 1
    told, said = capsys.readouterr()
    rows = {row["figure"]: row for row in json.loads(told)["rows"]}
    assert (rows["errors"]["before"], rows["errors"]["after"]) == (0.02, 0.4)
    assert (rows["errors"]["unit"], rows["errors"]["conclusion"]) == ("share", "more errors")
    assert (rows["p50"]["unit"], rows["p50"]["before"]) == ("ms", 50.015)
    (line,) = said.splitlines()
    assert line == (
        f"eas-tw: {second} is worse: p90 at 8 in flight from 90.047 ms to no answer, "
        "errors at 8 in flight from 2.00% to 40.00% (+1900.0%)"
    )
    assert (rows["p90"]["after"], rows["p90"]["change"]) == (None, None)
    assert main(["perf", "compare", str(second), str(first)]) == 0


def test_steps_are_compared_by_their_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a.json", step(Load(1)), step(Load(8)), step(Load(64)))
    second = write(tmp_path / "b.json", step(Load(8)), step(Load(64)))
    assert main(["perf", "compare", str(first), str(second), "--output", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["load"] for row in rows} == {"8 in flight", "64 in flight"}
    assert main(["perf", "compare", str(first), str(second)]) == 0
    assert ["8", "in", "flight", "p50"] in [line.split()[:4] for line in capsys.readouterr().out.splitlines()]


def test_different_settings_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a.json")
    changed = {"service": "other", "is_interrupted": True}
    settings = {"requests": None, "duration_s": 60, "warm_up_s": 2.0, "stream": False}
    second = write(tmp_path / "b.json", **changed, settings=settings)
    assert main(["perf", "compare", str(first), str(second)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Note: ")]
    assert notes == [
        "Note: service is <echo> in the first, other in the second.",
        "Note: duration_s is not set in the first, 60 in the second.",
        "Note: requests is 100 in the first, not set in the second.",
        "Note: the second was interrupted.",
    ]


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, 66, "b.json: No such file"),
        ("{", 2, "b.json is not JSON"),
        ("[]", 2, "b.json is no result of `eas-tw perf --output json`"),
        ('{"format": "eas-tw perf 2"}', 2, "b.json is no result of `eas-tw perf --output json` of this version"),
    ],
)
def test_another_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, code: int, says: str
) -> None:
    if content is not None:
        (tmp_path / "b.json").write_text(content)
    assert main(["perf", "compare", str(write(tmp_path / "a.json")), str(tmp_path / "b.json")]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_results_without_a_common_load_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write(tmp_path / "a.json", step(Load(1))), write(tmp_path / "b.json", step(Load(9, 500.0)))
    assert main(["perf", "compare", str(first), str(second)]) == 2
    assert capsys.readouterr().err == (
        "eas-tw: the results have no load in common: 1 in flight in the first, 500 calls/s in the second\n"
    )


def test_a_broken_histogram_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = result()
    made["steps"][0]["histograms"]["answered"] = "x"
    (tmp_path / "b.json").write_text(json.dumps(made))
    assert main(["perf", "compare", str(write(tmp_path / "a.json")), str(tmp_path / "b.json")]) == 2
    assert "the histogram 'answered' cannot be read" in capsys.readouterr().err
