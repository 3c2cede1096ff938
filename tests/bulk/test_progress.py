"""The progress of `eas-tw score`, as lines and on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from twisted.internet.task import Clock

from eas_tw.cli.score_progress import ProgressDisplay, Snapshot, account_text


def snapshot(done: int, elapsed_s: float, share: float | None) -> Snapshot:
    return Snapshot(done, done, 3, elapsed_s, share, {"10.0.0.1:80": 75, "10.0.0.2:80": 25})


@pytest.mark.parametrize(
    ("given", "begun_share", "text"),
    [
        (snapshot(12_000, 10, 0.25), 0.0, "12,000 rows, 25%, 1,200/s, 3 failed, ETA 0:00:30"),
        (snapshot(12_000, 10, 0.75), 0.5, "12,000 rows, 75%, 1,200/s, 3 failed, ETA 0:00:10"),
        (snapshot(0, 0, 0.5), 0.5, "0 rows, 50%, 0/s, 3 failed"),
        (snapshot(500, 10, None), 0.0, "500 rows, 50/s, 3 failed"),
    ],
)
def test_a_line_has_rate_failures_and_the_time_that_is_left(given: Snapshot, begun_share: float, text: str) -> None:
    assert given.text(begun_share) == text


def test_the_instances_with_the_most_attempts_are_shown_with_their_shares() -> None:
    assert snapshot(1, 1, None).instances() == [
        "10.0.0.1:80            75% of the attempts",
        "10.0.0.2:80            25% of the attempts",
    ]
    many = Snapshot(1, 1, 0, 1, None, {f"10.0.0.{number}:80": 1 for number in range(12)})
    assert len(many.instances()) == 9
    assert many.instances()[-1] == "and 4 more instances"


def test_lines_come_every_ten_seconds_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    display = ProgressDisplay(clock, lambda: snapshot(100, clock.seconds(), None), is_shown=True)
    display.start()
    clock.pump([5] * 5)
    display.stop()
    assert capsys.readouterr().err.splitlines() == ["100 rows, 10/s, 3 failed", "100 rows, 5/s, 3 failed"]
    assert clock.getDelayedCalls() == []


def test_nothing_is_shown_if_nothing_is_to_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    display = ProgressDisplay(clock, lambda: snapshot(100, clock.seconds(), None), is_shown=False)
    display.start()
    clock.pump([5] * 5)
    display.stop()
    assert capsys.readouterr().err == ""


def test_a_bar_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    clock = Clock()
    display = ProgressDisplay(clock, lambda: snapshot(100, clock.seconds(), 0.5), is_shown=True)
    display.start()
    clock.pump([0.5] * 3)
    display.stop()
    drawn = terminal.getvalue()
    assert "100 rows, 50%, 67/s, 3 failed" in drawn
    assert "10.0.0.1:80            75% of the attempts" in drawn
    assert "━" * 30 in drawn
    assert clock.getDelayedCalls() == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_account_has_a_line_for_each_figure() -> None:
    account: dict[str, Any] = {"rows": 3, "errors": {"StatusError": 2}, "attempts": {}}
    assert account_text(account) == "rows      3\nerrors    StatusError 2\nattempts  0"
