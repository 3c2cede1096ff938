"""The progress of `eas-tw score` on standard error: a bar on a terminal, and plain lines otherwise."""

from __future__ import annotations

import contextlib
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TERMINAL_EVERY_S = 0.5
_LINES_EVERY_S = 10.0
_INSTANCES_SHOWN = 8
_BAR_WIDTH = 60


@frozen
class Snapshot:
    """The progress of a job at one point in time.

    Attributes:
        done: The number of rows in the output and the error file, including earlier runs.
        scored: The number of rows of this run that succeeded or failed.
        failed: The number of error rows, including earlier runs.
        elapsed_s: The duration of this run, in seconds.
        share: The share of the input that has been read, 0–1; `None` if it is unknown.
        attempts: The number of attempts, by the instance's address.
    """

    done: int
    scored: int
    failed: int
    elapsed_s: float
    share: float | None
    attempts: Mapping[str, int]

    def text(self, begun_share: float) -> str:
        """Describe the progress in one line.

        Args:
            begun_share: The share of the input, 0–1, that was done before this run.
        """
        rate = self.scored / self.elapsed_s if self.elapsed_s else 0.0
        parts = [f"{self.done:,} rows", f"{rate:,.0f}/s", f"{self.failed:,} failed"]
        if self.share is not None:
            parts.insert(1, f"{self.share:.0%}")
            gained = self.share - begun_share
            if gained > 0:
                left_s = round(self.elapsed_s * (1 - self.share) / gained)
                parts.append(f"ETA {timedelta(seconds=left_s)}")
        return ", ".join(parts)

    def instances(self) -> list[str]:
        """Return a line for each of the eight instances with the most attempts, and a line that counts the others."""
        total = sum(self.attempts.values()) or 1
        busiest = sorted(self.attempts.items(), key=lambda item: -item[1])
        lines = [f"{address:21} {count / total:4.0%} of the attempts" for address, count in busiest[:_INSTANCES_SHOWN]]
        more = len(busiest) - _INSTANCES_SHOWN
        return [*lines, f"and {more} more instances"] if more > 0 else lines


class ProgressDisplay:
    """Shows the progress on standard error.

    Args:
        reactor: The reactor, for its timers.
        snapshot: A function that returns the progress.
        is_shown: Whether anything is shown.
    """

    def __init__(self, reactor: Any, snapshot: Callable[[], Snapshot], *, is_shown: bool) -> None:
        self._snapshot = snapshot
        self._begun_share = 0.0
        self._show: Callable[[], None] = self._print_line
        self._live: Any = None
        self._calls = LoopingCall(self._call)
        self._calls.clock = reactor
        self._is_shown = is_shown

    def start(self) -> None:
        """Begin to show the progress."""
        if not self._is_shown:
            return
        self._begun_share = self._snapshot().share or 0.0
        rich = _rich() if sys.stderr.isatty() else None
        if rich is not None:
            self._live = rich.live.Live(console=rich.console.Console(stderr=True), auto_refresh=False)
            self._live.start()
            self._show = self._draw
        self._calls.start(_LINES_EVERY_S if rich is None else _TERMINAL_EVERY_S, now=rich is not None)

    def stop(self) -> None:
        """Stop showing the progress; a bar on a terminal is updated a last time."""
        if not self._calls.running:
            return
        self._calls.stop()
        if self._live is not None:
            self._call()
            self._live.stop()

    def _call(self) -> None:
        with contextlib.suppress(OSError):  # standard error may be closed; the job continues
            self._show()

    def _print_line(self) -> None:
        print(self._snapshot().text(self._begun_share), file=sys.stderr, flush=True)

    def _draw(self) -> None:
        rich = _rich()
        now = self._snapshot()
        parts: list[Any] = [rich.text.Text(now.text(self._begun_share))]
        if now.share is not None:
            full = round(min(1.0, now.share) * _BAR_WIDTH)
            parts.insert(0, rich.text.Text.assemble(("━" * full, "green"), ("━" * (_BAR_WIDTH - full), "dim")))
        parts += [rich.text.Text(line) for line in now.instances()]
        self._live.update(rich.console.Group(*parts), refresh=True)


def account_text(account: Mapping[str, Any]) -> str:
    """Return the final report as lines of name and value."""
    width = max(map(len, account))
    return "\n".join(f"{name:{width}}  {_shown(value)}" for name, value in account.items())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "0"
    return str(value)


def _rich() -> Any:
    """Import rich, and return it; return `None` if it is not installed, so that plain lines are shown instead."""
    try:
        import rich.console  # noqa: PLC0415  an optional dependency
        import rich.live  # noqa: PLC0415
        import rich.text  # noqa: PLC0415
    except ImportError:
        return None
    return rich
