"""`Recorder`, which counts the calls of one measurement in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from eas_tw import EasError, StatusError
from eas_tw.cli.perf.histogram import CompactHistogram, Histogram
from eas_tw.cli.perf.over_time import OverTime

if TYPE_CHECKING:
    from eas_tw.cli.perf.in_flight import EndedCall, StreamTimes

_EXAMPLE_CHARS = 300


@define
class ErrorRow:
    """The failed calls with the same kind of error.

    Attributes:
        kind: The name of the error's class.
        status: The HTTP status of a `StatusError`; `None` for other errors.
        example: The message of the last error, up to 300 characters.
        count: The number of calls.
    """

    kind: str
    status: int | None
    example: str = ""
    count: int = 0

    @property
    def name(self) -> str:
        """The name of the class, followed by the HTTP status if there is one."""
        return self.kind if self.status is None else f"{self.kind} {self.status}"


class Recorder:
    """Counts the calls of a measurement, which are the calls that were due at or after `begin_s`.

    Times are seconds of the reactor's clock.

    Attributes:
        begin_s: The beginning of the measurement, set by `begin`.
        answered: The latencies of the answered calls.
        failed: The durations of the failed calls, up to their errors.
        delays: For all calls, the time from the due time to the start of the call.
        errors: A row for each kind of error, by class name and HTTP status.
        last_error: The error of the last failed call; `None` if none has failed.
        last_ended_s: The time at which the last call ended; `begin_s` before the first call has ended.
        over_time: The results in intervals of time.
        recent: The latencies of the calls that were answered since `take_recent` was called.
        first_bytes: For streams, the time from the due time of the call to the first byte of the body.
        gaps: For streams, the times between two events.
        events: The number of events of all streams.
        tokens: The number of tokens of all streams.
    """

    def __init__(self) -> None:
        self.begin_s = 0.0
        self.answered = Histogram()
        self.failed = Histogram()
        self.delays = CompactHistogram()
        self.errors: dict[tuple[str, int | None], ErrorRow] = {}
        self.last_error: EasError | None = None
        self.last_ended_s = 0.0
        self.over_time = OverTime(0.0)
        self.recent = CompactHistogram()
        self.first_bytes = Histogram()
        self.gaps = Histogram()
        self.events = 0
        self.tokens = 0

    def begin(self, begin_s: float) -> None:
        """Set the beginning of the measurement; called before the first call."""
        self.begin_s = self.last_ended_s = begin_s
        self.over_time = OverTime(begin_s)

    @property
    def failures(self) -> int:
        """The number of failed calls."""
        return len(self.failed)

    def record(self, call: EndedCall) -> None:
        """Count a call that has ended, unless it was due before the measurement."""
        if call.due_s < self.begin_s:
            return
        self.last_ended_s = max(self.last_ended_s, call.ended_s)
        self.delays.record(call.delay_s)
        self.over_time.record(call)
        if call.error is not None:
            self.failed.record(call.latency_s)
            self._count_error(call.error)
            return
        self.answered.record(call.latency_s)
        self.recent.record(call.latency_s)
        if call.stream is not None:
            self._record_stream(call, call.stream)

    def take_recent(self) -> CompactHistogram:
        """Return `recent`, and replace it by an empty histogram."""
        taken, self.recent = self.recent, CompactHistogram()
        return taken

    def _record_stream(self, call: EndedCall, stream: StreamTimes) -> None:
        if stream.first_byte_s is not None:
            self.first_bytes.record(stream.first_byte_s - min(call.due_s, call.sent_s))
        self.gaps.add(stream.gaps)
        self.events += stream.events
        self.tokens += stream.tokens

    def _count_error(self, error: EasError) -> None:
        self.last_error = error
        key = (type(error).__name__, error.status if isinstance(error, StatusError) else None)
        row = self.errors.get(key)
        if row is None:
            row = self.errors[key] = ErrorRow(*key)
        row.count += 1
        row.example = " ".join(str(error).split())[:_EXAMPLE_CHARS]
