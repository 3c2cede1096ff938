"""`Job`, which decides what to send and deliver next; `engine` (Twisted, asyncio) and `threads` execute it."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from attrs import frozen

from eas_tw.bulk.report import ScoringReport, TooManyErrors
from eas_tw.bulk.rows import NOT_READY, Batch, ErrorRow, is_of_the_rows
from eas_tw.bulk.token_bucket import TokenBucket
from eas_tw.display import shown, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eas_tw.bulk.options import JobOptions

SHARE_FROM_ROWS = 100
"""Minimum number of rows for which a share in `max_errors` is checked: with few rows, the share has no significance."""


@frozen(eq=False)
class Send:
    """A decision to send a request; its result is to be passed to `Job.answered` or `Job.failed`."""

    batch: Batch
    request: Any


@frozen
class Pause:
    """A decision to call `Job.next` again after `delay_s` seconds, because of `rate_per_s`."""

    delay_s: float


class Job:
    """The state of a job: its rows from the input to the output. It does no I/O and reads no clock.

    Args:
        rows: The rows, an iterable. They are read one request at a time, so that memory is bounded by `options.window`.
            An iterator may return `NOT_READY` for a row that has not arrived.
        options: The settings.
        began_at: The current time in seconds, from the same clock as the argument `now` of the methods.
        bucket: A token bucket that several jobs share; `None` to use `options.rate_per_s` for this job alone.
        first_position: The position of the first row, ≥ 0.

    Attributes:
        error: The error that ended the job early; `None` if there is none.
        in_flight: The number of requests that have been sent and have not ended.

    Raises:
        ConfigError: A function that is given by name cannot be imported.
    """

    def __init__(
        self,
        rows: Iterable[Any],
        options: JobOptions,
        began_at: float,
        *,
        bucket: TokenBucket | None = None,
        first_position: int = 0,
    ) -> None:
        self.options = options
        self.error: BaseException | None = None
        self.in_flight = 0
        self._codec = options.codec()
        self._rows = iter(rows)
        self._bucket = bucket or (None if options.rate_per_s is None else TokenBucket(options.rate_per_s))
        self._began_at = began_at
        self._read = self._next = first_position
        self._undelivered = 0
        self._incomplete: list[Any] = []
        self._is_exhausted = False
        self._to_send: deque[Batch] = deque()
        self._ready: deque[Any] = deque()
        self._waiting: dict[int, Any] = {}
        self._succeeded = 0
        self._requests = 0
        self._errors: Counter[str] = Counter()
        self._last_error = ""

    @property
    def is_done(self) -> bool:
        """Whether all outputs have been delivered, or the job has ended early."""
        if self.error is not None:
            return True
        return self._is_exhausted and not self._to_send and not self._undelivered

    @property
    def has_outputs(self) -> bool:
        """Whether there are outputs to take."""
        return bool(self._ready)

    def next(self, now: float) -> Send | Pause | None:
        """Decide what to do now.

        Args:
            now: The current time, in seconds.

        Returns:
            1. A `Send`: a request to send.
            2. A `Pause`, if the rate does not allow a request yet.
            3. `None`, if all rows have been sent, if the job has ended early, or if no request can be sent until
               another ends, an output is delivered or a row arrives. Outputs may have become ready, because a row that
               cannot be encoded becomes an error row immediately.

        Raises:
            Exception: Any exception of the iterator of the rows.
        """
        while self.error is None and self.in_flight < self.options.in_flight:
            batch = self._batch()
            if batch is None:
                return None
            delay_s = 0.0 if self._bucket is None else self._bucket.take(len(batch.rows), now)
            if delay_s:
                self._to_send.appendleft(batch)
                return Pause(delay_s)
            try:
                request = self._codec.request(batch)
            except Exception as error:  # noqa: BLE001  the program's `encode` may raise any exception
                self._failed(batch, error, now)
                continue
            self.in_flight += 1
            self._requests += 1
            return Send(batch, request)
        return None

    def answered(self, batch: Batch, response: Any, now: float) -> None:
        """Process the response to a request that `next` returned."""
        self.in_flight -= 1
        if self.error is not None:
            return
        try:
            outputs = self._codec.outputs(batch, response)
        except Exception as error:  # noqa: BLE001  the program's `decode` may raise any exception
            self._failed(batch, error, now)
            return
        self._succeeded += len(outputs)
        for position, output in enumerate(outputs, batch.position):
            self._ended(position, output)

    def failed(self, batch: Batch, error: BaseException, now: float) -> None:
        """Process the failure of a request that `next` returned."""
        self.in_flight -= 1
        if self.error is None:  # otherwise the request was cancelled because the job has ended early
            self._failed(batch, error, now)

    def take(self) -> list[Any]:
        """Remove and return the outputs that are ready, including error rows; `delivered` must be called afterwards."""
        outputs = list(self._ready)
        self._ready.clear()
        return outputs

    def delivered(self, count: int) -> None:
        """Record that outputs have been delivered, so that further rows may be read.

        Args:
            count: The number of outputs, ≥ 0.
        """
        self._undelivered -= count

    def stop(self, error: BaseException) -> None:
        """End the job early with an error; only the first error is recorded."""
        if self.error is None:
            self.error = error

    def result(self, now: float) -> ScoringReport:
        """Return the report of a job that is done.

        Raises:
            TooManyErrors: More rows failed than `max_errors` allows.
            Exception: The error that ended the job early.
        """
        self._check_errors(now, is_end=True)
        if self.error is not None:
            raise self.error
        return self.report(now)

    def report(self, now: float) -> ScoringReport:
        """Return the report of the job so far."""
        failed = self._errors.total()
        return ScoringReport(
            rows=self._succeeded + failed,
            succeeded=self._succeeded,
            failed=failed,
            requests=self._requests,
            errors=dict(self._errors),
            elapsed_s=now - self._began_at,
        )

    def _batch(self) -> Batch | None:
        """Return the next batch; `None` if there are no rows, they have not arrived, or the window is full."""
        if self._to_send:
            return self._to_send.popleft()
        size = self.options.batch_size
        if self._is_exhausted or self._undelivered + size > self.options.window:
            return None
        rows = self._incomplete
        for row in self._rows:
            if row is NOT_READY:
                return None
            rows.append(row)
            if len(rows) == size:
                break
        else:
            self._is_exhausted = True
        if not rows:
            return None
        self._incomplete = []
        batch = Batch(self._read, rows)
        self._read += len(rows)
        self._undelivered += len(rows)
        return batch

    def _failed(self, batch: Batch, error: BaseException, now: float) -> None:
        if len(batch.rows) > 1 and is_of_the_rows(error):
            self._to_send.extend(batch.halves())
            return
        if self.options.on_error == "raise":
            # The note identifies the row, which the error itself may not contain.
            error.add_note(f"row {batch.position} (from 0): {shown(batch.rows[0])}")
            self.stop(error)
            return
        self._errors[type(error).__name__] += len(batch.rows)
        for position, row in enumerate(batch.rows, batch.position):
            self._ended(position, ErrorRow.of(position, row, error))
        self._last_error = text_of(error)
        self._check_errors(now)

    def _ended(self, position: int, output: Any) -> None:
        if not self.options.ordered:
            self._ready.append(output)
            return
        if position != self._next:
            self._waiting[position] = output
            return
        self._ready.append(output)
        self._next += 1
        while self._waiting and self._next in self._waiting:
            self._ready.append(self._waiting.pop(self._next))
            self._next += 1

    def _check_errors(self, now: float, *, is_end: bool = False) -> None:
        allowed, failed = self.options.max_errors, self._errors.total()
        if allowed is None or not failed:
            return
        rows = self._succeeded + failed
        if isinstance(allowed, int):
            is_exceeded = failed > allowed
            limit = f"{allowed} rows"
        else:
            is_exceeded = failed > allowed * rows and (is_end or rows >= SHARE_FROM_ROWS)
            limit = f"{allowed:.4g} of the rows"
        if is_exceeded:
            kinds = ", ".join(f"{name} {count}" for name, count in self._errors.most_common())
            text = f"{failed} of {rows} rows failed ({kinds}); max_errors allows {limit}"
            self.stop(TooManyErrors(f"{text}; the last error: {self._last_error}", self.report(now)))
