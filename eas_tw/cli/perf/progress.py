"""The progress of a run on standard error: a line that is updated on a terminal, and plain lines otherwise."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from eas_tw.cli.perf.histogram import CompactHistogram
    from eas_tw.cli.perf.step import Step

TERMINAL_EVERY_S = 1.0
PLAIN_EVERY_S = 10.0


class Display(Protocol):
    """A display of progress.

    Attributes:
        every_s: The interval between two lines, in seconds.
    """

    every_s: float

    def show(self, line: str) -> None:
        """Show a line; on a terminal, it replaces the previous line."""

    def close(self) -> None:
        """End the display; on a terminal, the line is removed."""


class PlainDisplay:
    """Prints each line."""

    every_s = PLAIN_EVERY_S

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, line: str) -> None:
        """Print a line."""
        with contextlib.suppress(OSError):  # standard error may be closed; the run continues
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Do nothing, because every line has been printed."""


class TerminalDisplay:
    """Updates one line on a terminal, with rich."""

    every_s = TERMINAL_EVERY_S

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415  an optional dependency
        from rich.live import Live  # noqa: PLC0415

        # No auto_refresh, because its thread would compete with the reactor thread for the GIL. No redirects, because
        # nothing else is printed while the line is shown.
        self._live: Any = Live(
            console=Console(file=stream),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, line: str) -> None:
        """Replace the line."""
        from rich.text import Text  # noqa: PLC0415

        if not self._live.is_started:
            self._live.start()
        self._live.update(Text(line, overflow="ellipsis", no_wrap=True), refresh=True)

    def close(self) -> None:
        """Remove the line."""
        self._live.stop()


def display_for(stream: TextIO) -> Display:
    """Return the display for a stream: an updated line if it is a terminal and rich is installed, else plain lines."""
    if stream.isatty():
        try:
            return TerminalDisplay(stream)
        except ImportError:
            pass
    return PlainDisplay(stream)


class Progress:
    """Shows the progress of a step until `stop`."""

    def __init__(self, clock: Any, display: Display, step: Step) -> None:
        self._clock = clock
        self._display = display
        self._step = step
        self._seen = 0
        self._looping = LoopingCall(self._show)
        self._looping.clock = clock

    def start(self) -> None:
        """Begin to show progress."""
        self._looping.start(self._display.every_s, now=False)

    def stop(self) -> None:
        """Show no further progress."""
        if self._looping.running:
            self._looping.stop()

    def _show(self) -> None:
        answered = len(self._step.recorder.answered)
        per_s, self._seen = (answered - self._seen) / self._display.every_s, answered
        self._display.show(line_of(self._step, self._clock.seconds(), per_s, self._step.recorder.take_recent()))


def line_of(step: Step, now_s: float, per_s: float, recent: CompactHistogram) -> str:
    """Return the line of progress.

    Args:
        step: The step.
        now_s: The current time, in seconds of the reactor's clock.
        per_s: The number of answered calls per second since the previous line.
        recent: The latencies of the calls that were answered since the previous line.
    """
    phases, recorder = step.phases, step.recorder
    if now_s < phases.full_s:
        return f"{step.load}: ramp, {_seconds(phases.full_s - now_s)} left"
    if now_s < phases.measure_s:
        return f"{step.load}: warm-up, {_seconds(phases.measure_s - now_s)} left"
    done = _seconds(now_s - phases.measure_s)
    if phases.until_s is not None:
        done += f" of {_seconds(phases.until_s - phases.measure_s)}"
    ended = len(recorder.answered) + recorder.failures
    calls = f"{ended} calls" if phases.requests is None else f"{ended} of {phases.requests} calls"
    parts = [done, calls, f"{per_s:.0f}/s", f"{len(step.calls)} in flight", f"{recorder.failures} failed"]
    found = recent.distribution()
    if found.count:
        p50, p99 = ((found.percentile(share) or 0.0) * 1000 for share in (50, 99))
        parts.append(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return f"{step.load}: {', '.join(parts)}"


def _seconds(seconds: float) -> str:
    return f"{round(seconds, 1):g} s"
