"""A measurement on a `Clock`, from the ramp to the results."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from eas_tw import ConnectionFailed
from eas_tw.cli.perf.figures import Figures
from eas_tw.cli.perf.perf_run import PerfRun
from eas_tw.cli.perf.plan import Load, Plan
from eas_tw.cli.perf.progress import PlainDisplay, Progress
from eas_tw.cli.perf.step import Step
from tests.cli.perf.stalling import QUICK_S, Service, plan, run_until


def listen(_: Any) -> Any:
    """Stand in for `client.listen` of a client that sends no events."""
    return lambda: None


class Lines:
    """A progress display that collects its lines."""

    every_s = 1.0

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.is_closed = False

    def show(self, line: str) -> None:
        self.lines.append(line)

    def close(self) -> None:
        self.is_closed = True


def results(clock: Clock, perf_run: PerfRun, interrupt_at_s: float = float("inf")) -> list[Figures]:
    ended: list[Any] = []
    Deferred.fromCoroutine(perf_run.run()).addBoth(ended.append)

    def is_over() -> bool:
        if clock.seconds() >= interrupt_at_s:
            perf_run.interrupt()
        return bool(ended)

    run_until(clock, is_over)
    assert ended == [None]
    assert clock.getDelayedCalls() == []
    return perf_run.results


def run_of(clock: Clock, service: Service, made: Plan, display: Any = None) -> PerfRun:
    return PerfRun(clock, service.send, listen, made, display)


def test_ramp_and_warm_up_are_not_in_the_results() -> None:
    """The ramp takes 2 s (8 calls), the warm-up 1 s (8 calls), and the measurement 4 s (32 calls)."""
    clock = Clock()
    service = Service(clock)
    made = plan(Load(100, 8.0), duration_s=4.0, ramp_s=2.0, warm_up_s=1.0)
    (found,) = results(clock, run_of(clock, service, made))
    assert (len(service.asked), found.answered.count) == (8 + 8 + 32, 32)
    assert (found.elapsed_s, found.calls_per_s) == (4.0, 8.0)


def test_a_sweep_has_a_result_for_each_load() -> None:
    clock = Clock()
    service = Service(clock)
    found = results(clock, run_of(clock, service, plan(Load(1), Load(4), duration_s=1.0)))
    assert [(figures.load.in_flight, figures.calls_per_s) for figures in found] == [(1, 64.0), (4, 256.0)]


def test_a_run_of_requests_lasts_until_its_last_response() -> None:
    clock = Clock()
    (found,) = results(clock, run_of(clock, Service(clock), plan(Load(1), requests=32)))
    assert (found.elapsed_s, found.calls_per_s) == (0.5, 64.0)


@pytest.mark.parametrize("load", [Load(4), Load(100, 64.0)])
def test_an_interrupted_run_has_results_of_what_was_measured(load: Load) -> None:
    """The service stalls from the first second on. The run is interrupted at 3 s."""
    clock = Clock()
    service = Service(clock, lambda asked_s: asked_s + QUICK_S if asked_s < 1.0 else 1e6)
    (found,) = results(clock, run_of(clock, service, plan(load, duration_s=60.0)), interrupt_at_s=3.0)
    assert 60 <= found.answered.count <= 260
    assert found.elapsed_s == pytest.approx(3.0, abs=0.01)
    assert found.unfinished > 0
    assert found.oldest_s == pytest.approx(2.0, abs=0.02)
    assert "in flight when the run was interrupted, the oldest for 2.0" in " ".join(found.warnings)


def test_an_interrupt_ends_the_sweep() -> None:
    clock = Clock()
    made = plan(Load(1), Load(2), Load(3), duration_s=1.0)
    found = results(clock, run_of(clock, Service(clock), made), interrupt_at_s=1.5)
    assert [figures.load.in_flight for figures in found] == [1, 2]


def test_an_interrupt_in_the_ramp_ends_the_run_at_once() -> None:
    clock = Clock()
    made = plan(Load(8), duration_s=1.0, ramp_s=100.0)
    (found,) = results(clock, run_of(clock, Service(clock), made), interrupt_at_s=0.5)
    assert (found.calls, found.elapsed_s) == (0, 0.0)
    assert clock.seconds() < 1.0


def test_progress_is_a_line_each_second_with_what_is_left() -> None:
    clock, display = Clock(), Lines()
    service = Service(clock)
    service.errors = [None] * 200 + [ConnectionFailed("refused")]
    made = plan(Load(1), duration_s=2.5, ramp_s=1.5, warm_up_s=1.0)
    results(clock, run_of(clock, service, made, display))
    assert display.lines == [
        "1 in flight: ramp, 0.5 s left",
        "1 in flight: warm-up, 0.5 s left",
        "1 in flight: 0.5 s of 2.5 s, 31 calls, 31/s, 1 in flight, 0 failed, p50 15.6 ms, p99 15.6 ms",
        "1 in flight: 1.5 s of 2.5 s, 95 calls, 63/s, 1 in flight, 1 failed, p50 15.6 ms, p99 15.6 ms",
        "1 in flight: 2.5 s of 2.5 s, 159 calls, 64/s, 1 in flight, 1 failed, p50 15.6 ms, p99 15.6 ms",
    ]
    assert display.is_closed


def test_progress_of_requests_shows_how_many_are_left() -> None:
    clock, display = Clock(), Lines()
    results(clock, run_of(clock, Service(clock), plan(Load(1), requests=100), display))
    assert display.lines == ["1 in flight: 1 s, 63 of 100 calls, 63/s, 1 in flight, 0 failed, p50 15.6 ms, p99 15.6 ms"]


def test_plain_progress_is_shown_every_10_s_and_write_errors_are_ignored(tmp_path: Any) -> None:
    clock = Clock()
    with (tmp_path / "progress").open("w") as file:
        display = PlainDisplay(file)
        step = Step(clock, Service(clock).send, listen, plan(Load(1), duration_s=60.0), Load(1))
        progress = Progress(clock, display, step)
        progress.start()
        clock.pump([1.0] * 25)
        progress.stop()
    assert (tmp_path / "progress").read_text().splitlines() == [
        f"1 in flight: {seconds} s of 60 s, 0 calls, 0/s, 0 in flight, 0 failed" for seconds in (10, 20)
    ]
    with (tmp_path / "full").open("w") as file:
        PlainDisplay(Full(file)).show("line")
    assert clock.getDelayedCalls() == []


class Full:
    """A file object on a full disk."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        """Do nothing."""
