"""Results of `eas-tw perf` as JSON, text, CSV and an HTML page."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from eas_tw import ConnectionFailed, Instance, StatusError
from eas_tw.cli.perf.charts import Line, Scale, bar, line_chart, milliseconds
from eas_tw.cli.perf.distribution import Distribution
from eas_tw.cli.perf.figures import Figures
from eas_tw.cli.perf.formats import FORMATS
from eas_tw.cli.perf.histogram import CompactHistogram, decoded
from eas_tw.cli.perf.in_flight import EndedCall, StreamTimes
from eas_tw.cli.perf.instances import InstanceTable
from eas_tw.cli.perf.plan import Load
from eas_tw.cli.perf.recorder import Recorder
from eas_tw.cli.perf.report import document
from eas_tw.cli.perf.text import table
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome
from eas_tw.telemetry.events import AttemptEnded, Ejected

ABOUT = {
    "version": "1.2.3",
    "service": "<echo>",
    "endpoint": "http://eas",
    "started": "2026-01-02T03:04:05+00:00",
    "settings": {"requests": 100, "duration_s": None, "ramp_s": 0.0, "warm_up_s": 2.0, "stream": False},
    "is_interrupted": False,
}
ONE, TWO = Instance("10.0.0.1", 80, 100), Instance("10.0.0.2", 80, 100)


EIGHT = Load(8)


def step(load: Load = EIGHT, failures: int = 2, stream: StreamTimes | None = None) -> Figures:
    """Return results of 2 s: 100 calls of 1 to 100 ms, one due every 10 ms, of which the last `failures` failed."""
    recorder, instances = Recorder(), InstanceTable(lambda: 1.0, 0.0)
    errors = [ConnectionFailed("refused & <lost>"), StatusError("status 503", status=503)]
    for number in range(100):
        due_s = number / 100
        error = errors[number % 2] if number >= 100 - failures else None
        ended_s = due_s + (number + 1) / 1000
        recorder.record(EndedCall(due_s, due_s, ended_s, error, None if error else stream))
        outcome = ANSWERED if error is None else Outcome(AttemptStatus.LOST)
        instances(AttemptEnded("echo", TWO if number % 4 == 0 else ONE, outcome, 0.5))
    instances(Ejected("echo", TWO, "lost"))
    lag = Distribution.of([(0.0001, 10)])
    return Figures(load, recorder, instances, 2.0, 0, 0, 0.0, lag, 0.25)


def result(*steps: Figures, **changes: Any) -> dict[str, Any]:
    made = document(steps or (step(),), {**ABOUT, **changes})
    assert json.loads(FORMATS["json"](made)) == made
    return made


class TestDocument:
    """The JSON document."""

    def test_the_figures_of_a_single_step_are_at_the_top_too(self) -> None:
        made = result()
        (only,) = made["steps"]
        assert made["answered"] == only["answered"] == 98
        assert made["failed"] == {"ConnectionFailed": 1, "StatusError": 1}
        assert (made["calls_per_s"], made["error_share"], made["p50_ms"]) == (49.0, 0.02, only["p50_ms"])
        assert (made["format"], made["service"]) == ("eas-tw perf 1", "<echo>")

    def test_latencies_are_of_the_answered_calls_and_those_of_failures_are_apart(self) -> None:
        made = result()
        names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99.9_ms", "max_ms", "mean_ms")
        assert [made[name] for name in names] == pytest.approx([49, 89, 94, 98, 98, 98, 49.5], rel=1e-3)
        assert [made["failed_latency"][name] for name in names[:1]] == pytest.approx([99], rel=1e-3)

    def test_instances_have_their_share_and_what_happened_to_them(self) -> None:
        one, two = result()["instances"]
        assert (one["instance"], one["attempts"], one["share"], one["errors"]) == ("10.0.0.1:80", 75, 0.75, 2)
        assert (two["instance"], two["share"], two["p99_ms"], two["ejections"]) == ("10.0.0.2:80", 0.25, 500.0, 1)

    def test_intervals_have_their_calls(self) -> None:
        over_time = result()["steps"][0]["over_time"]
        assert over_time["interval_s"] == 0.25
        assert [row[:3] for row in over_time["rows"]] == [[0.0, 25, 0], [0.25, 25, 0], [0.5, 25, 0], [0.75, 23, 2]]

    def test_the_histogram_can_be_read_again(self) -> None:
        found = decoded(result()["steps"][0]["histograms"]["answered"])
        assert (found.count, found.percentile(50)) == (98, pytest.approx(0.049, rel=1e-3))

    def test_a_sweep_has_the_sums_at_the_top(self) -> None:
        made = result(step(Load(1)), step(Load(8), failures=4))
        assert (made["answered"], sum(made["failed"].values()), made["elapsed_s"]) == (194, 6, 4.0)
        assert "p50_ms" not in made

    def test_without_an_answer_there_are_no_latencies(self) -> None:
        made = result(step(failures=100))
        assert (made["answered"], made["calls_per_s"], "p50_ms" in made) == (0, 0.0, False)
        for name in FORMATS:
            assert FORMATS[name](made)


class TestText:
    """Text for a terminal, and CSV."""

    def test_the_pretty_output(self) -> None:
        assert FORMATS["pretty"](result()).splitlines() == [
            "answered     98",
            "failed       ConnectionFailed 1, StatusError 1",
            "retries      0",
            "hedges       0",
            "elapsed_s    2.0",
            "calls_per_s  49.0",
            "",
            "ms          mean     p50      p90      p95      p99    p99.9      max",
            "answered  49.500  49.023   89.023   94.015   98.000   98.000   98.000",
            "failed    99.500  99.007  100.000  100.000  100.000  100.000  100.000",
            "",
            "error             calls  share",
            "ConnectionFailed      1  1.00%",
            "StatusError 503       1  1.00%",
            "  ConnectionFailed: refused & <lost>",
            "  StatusError 503: status 503",
            "",
            "instance     share   p50 ms   p99 ms  errors  retries  hedges  ejections",
            "10.0.0.1:80  75.0%  500.000  500.000       2        0       0          0",
            "10.0.0.2:80  25.0%  500.000  500.000       0        0       0          1",
        ]

    def test_a_sweep_ends_with_a_table_of_its_steps(self) -> None:
        lines = FORMATS["pretty"](result(step(Load(1)), step(Load(8), failures=0))).splitlines()
        assert lines[0] == "--- 1 in flight"
        assert [line.split() for line in lines[-3:]] == [
            ["load", "calls/s", "errors", "p50", "ms", "p99", "ms", "max", "ms"],
            ["1", "in", "flight", "49.0", "2.00%", "49.023", "98.0", "98.0"],
            ["8", "in", "flight", "50.0", "0.00%", "50.015", "99.007", "100.0"],
        ]

    def test_csv_has_a_row_for_each_step(self) -> None:
        text = FORMATS["csv"](result(step(Load(1)), step(Load(100, 500.0))))
        one, two = csv.DictReader(io.StringIO(text))
        assert (one["load"], two["load"]) == ("1 in flight", "500 calls/s")
        assert (one["answered"], one["failed"], one["error_share"], one["max_ms"]) == ("98", "2", "0.02", "98.0")
        assert one["tokens_per_s"] == ""

    def test_columns_are_aligned(self) -> None:
        assert table([("a", "bb"), ("ccc", 1), ("d", None)]) == ["a    bb", "ccc   1", "d"]


class TestStreams:
    """Results of a measurement with streamed responses."""

    def test_they_have_the_first_byte_the_gaps_and_the_tokens(self) -> None:
        gaps = CompactHistogram()
        for _ in range(4):
            gaps.record(0.125)
        made = result(step(stream=StreamTimes(1.0, gaps, events=5, tokens=4)))
        stream = made["stream"]
        assert (stream["events"], stream["tokens"], stream["tokens_per_s"]) == (490, 392, 196.0)
        assert stream["between_events"]["p99_ms"] == 125.0
        assert stream["first_byte"]["max_ms"] == 1000.0
        text = FORMATS["pretty"](made)
        assert re.search(r"^first byte +\d", text, re.MULTILINE)
        assert re.search(r"^tokens/s +196.0$", text, re.MULTILINE)
        assert "tokens per second" in FORMATS["html"](made)
        assert next(csv.DictReader(io.StringIO(FORMATS["csv"](made))))["tokens_per_s"] == "196.0"


class Reader(HTMLParser):
    """Collects the tags and texts of an HTML page, and asserts that each tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class TestPage:
    """The HTML page."""

    def test_it_is_one_file_that_loads_nothing(self) -> None:
        page = FORMATS["html"](result(step(Load(1)), step(Load(8))))
        read = Reader(page)
        assert not {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe"}
        assert not [attributes for _, attributes in read.tags if set(attributes) & {"src", "href"}]
        assert "url(" not in page
        assert "@import" not in page

    def test_it_has_the_charts_the_instances_and_the_errors(self) -> None:
        read = Reader(FORMATS["html"](result()))
        labels = [attributes["aria-label"] for tag, attributes in read.tags if "aria-label" in attributes]
        assert labels == ["Latency by the time at which the calls were due", "Latency by percentile"]
        assert {"10.0.0.1:80", "75.0%", "StatusError 503", "refused & <lost>"} <= set(read.texts)
        marks = [attributes for tag, attributes in read.tags if attributes.get("class") == "failed"]
        assert [(mark["x"], mark["width"]) for mark in marks] == [("750.0", "250.0")]

    def test_texts_of_the_service_are_escaped(self) -> None:
        read = Reader(FORMATS["html"](result()))
        assert "<echo>" in read.texts
        assert "echo" not in {tag for tag, _ in read.tags}

    def test_a_sweep_has_a_chart_of_latency_by_load(self) -> None:
        read = Reader(FORMATS["html"](result(step(Load(1)), step(Load(8)))))
        assert "Latency by load" in [attributes.get("aria-label") for _, attributes in read.tags]

    @pytest.mark.parametrize("is_interrupted", [True, False])
    def test_it_says_that_the_run_was_interrupted(self, is_interrupted: bool) -> None:  # noqa: FBT001
        page = FORMATS["html"](result(is_interrupted=is_interrupted))
        assert ("interrupted" in page) == is_interrupted


class TestCharts:
    """Scales, lines and bars of the HTML page's charts."""

    def test_a_linear_scale_begins_at_zero_and_ends_at_a_round_value(self) -> None:
        scale = Scale.of([3.0, 41.0])
        assert (scale.ticks(), scale.is_log) == ([0.0, 20.0, 40.0, 60.0], False)
        assert (scale.place(0.0), scale.place(30.0), scale.place(60.0)) == (0.0, 0.5, 1.0)

    def test_values_of_different_sizes_have_a_logarithmic_scale(self) -> None:
        scale = Scale.of([0.5, 40.0])
        assert (scale.low, scale.high, scale.is_log) == (0.1, 100.0, True)
        assert scale.place(0.1) == 0.0
        assert scale.place(10.0) == pytest.approx(2 / 3)
        assert scale.ticks() == pytest.approx([0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])

    @pytest.mark.parametrize("values", [[], [0.0], [1e-9], [5.0], [1.0, 1e9]])
    def test_every_value_is_inside_of_its_scale(self, values: list[float]) -> None:
        scale = Scale.of(values)
        assert all(0 <= scale.place(value) <= 1 for value in values)
        assert len(scale.ticks()) <= 14

    def test_a_gap_divides_a_line(self) -> None:
        chart = line_chart("x", [Line("a", "p50", [(0.0, 1.0), (0.5, 1.0), (0.6, None), (1.0, 2.0)])], [])
        assert re.findall(r'<polyline class="p50" points="([^"]*)"', chart) == [
            "0.0,500.0 500.0,500.0",
            "1000.0,0.0 1004.0,0.0",
        ]

    def test_bars_are_in_proportion(self) -> None:
        assert re.findall(r'class="(p\d+)" width="([\d.]+)"', bar(50.0, 10.0, 100.0)) == [
            ("p99", "500.0"),
            ("p50", "100.0"),
        ]
        assert 'width="0.0"' in bar(0.0, 0.0, 0.0)

    @pytest.mark.parametrize(("value", "text"), [(0, "0 ms"), (0.25, "250 µs"), (1, "1 ms"), (2500, "2.5 s")])
    def test_times_have_a_unit_that_fits(self, value: float, text: str) -> None:
        assert milliseconds(value) == text
