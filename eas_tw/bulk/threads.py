"""`score` and `score_partition` for programs without an event loop; `encode` and `decode` run in the calling thread."""

from __future__ import annotations

from concurrent.futures import CancelledError
from contextlib import ExitStack, closing
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic  # noqa: TID251  there is no reactor in the calling thread
from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError, EasError
from eas_tw.bulk.job import Job, Pause, Send
from eas_tw.bulk.options import JobOptions, check_arguments, check_rows
from eas_tw.bulk.scoring import Scoring
from eas_tw.display import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from eas_tw.blocking import PredictClient
    from eas_tw.blocking.futures import CallFuture
    from eas_tw.bulk.report import ScoringReport
    from eas_tw.bulk.rows import Batch
    from eas_tw.bulk.token_bucket import TokenBucket

_WAKES_EVERY_S = 1.0
"""The interval, in seconds, at which a waiting thread wakes up to handle signals."""


def score(rows: Iterable[Any], sink: Callable[[Any], Any], *, client: PredictClient, **options: Any) -> ScoringReport:
    """Score rows with a blocking client; `sink` is called in the calling thread. See `eas_tw.bulk.score`."""
    check_arguments(rows, sink)
    settings = JobOptions(**options)
    job = Job(rows, settings, monotonic())
    with closing(outputs(job, client)) as found:  # an exception of the sink cancels the requests in flight
        for output in found:
            sink(output)
    return job.result(monotonic())


def score_partition(
    rows: Iterable[Any],
    scoring: Scoring,
    *,
    client: PredictClient | None = None,
    bucket: TokenBucket | None = None,
) -> Iterator[Any]:
    """Score the rows of a partition, for the map function of any engine, such as Spark, Ray or Dask.

    This is a generator, so nothing is read or sent before `next` is called the first time. Closing it early (`close`,
    or an exception in the loop) cancels the requests in flight.

    Args:
        rows: The rows, any iterable.
        scoring: The service, and the settings of the job.
        client: A client that the caller closes, such as a client for all partitions of a process. `None` to make a
            client from `scoring`, which is closed at the end.
        bucket: A token bucket that several partitions share; `None` for a bucket for this partition alone.

    Yields:
        The outputs, in the order of the rows if `scoring.ordered`. For a row that fails, the output is an `ErrorRow`,
        if `scoring.on_error` is `keep`.

    Raises:
        ConfigError: `rows` is not iterable, `scoring` is not a `Scoring`, a function that is given by name cannot be
            imported, or the token cannot be read.
        PredictException: The client cannot be made.
        EasError: The error of a row, if `scoring.on_error` is `raise`.
        TooManyErrors: More rows failed than `scoring.max_errors` allows.
    """
    check_rows(rows)
    # With a client, `JobOptions` are sufficient: only a new client needs the service.
    if not isinstance(scoring, Scoring if client is None else JobOptions):
        raise ConfigError(f"scoring must be a Scoring, got {shown(scoring)}")
    job = Job(rows, scoring, monotonic(), bucket=bucket)
    with ExitStack() as opened:
        if client is None:
            client = opened.enter_context(scoring.make_client())
        yield from outputs(job, client)
    job.result(monotonic())


def outputs(job: Job, client: PredictClient) -> Generator[Any, None, None]:
    """Run a job, and yield its outputs. Afterwards `job.result` returns the report, or raises the job's error."""
    ended: SimpleQueue[tuple[Batch, CallFuture]] = SimpleQueue()
    in_flight: set[CallFuture] = set()
    try:
        while True:
            pause_s = _send(job, client, ended, in_flight)
            if job.has_outputs:
                for output in job.take():
                    yield output
                    job.delivered(1)
                    # The consumer may be slow. Requests are sent between two outputs, so that the service is not idle.
                    _take_ended(job, ended, in_flight)
                    _send(job, client, ended, in_flight)
            elif job.is_done:
                return
            else:
                _wait(job, ended, in_flight, pause_s)
    finally:
        for future in in_flight:
            future.abandon()


def _send(
    job: Job, client: PredictClient, ended: SimpleQueue[tuple[Batch, CallFuture]], in_flight: set[CallFuture]
) -> float | None:
    """Send all requests that the job allows now.

    Returns:
        1. The seconds until `rate_per_s` allows another request.
        2. `None`, if `rate_per_s` is not the reason why no further request can be sent.
    """
    while isinstance(decided := job.next(monotonic()), Send):
        batch = decided.batch
        try:
            future = client.submit(decided.request, **job.options.call_arguments)
        except Exception as error:  # noqa: BLE001  the `to_string` of a program's request class may raise any exception
            job.failed(batch, _typed(error), monotonic())
            continue
        in_flight.add(future)
        future.add_done_callback(partial(_note, ended, batch))
    return decided.delay_s if isinstance(decided, Pause) else None


def _note(ended: SimpleQueue[tuple[Batch, CallFuture]], batch: Batch, future: Any) -> None:
    """Put an ended call into the queue that the job's thread reads."""
    ended.put((batch, future))


def _wait(
    job: Job, ended: SimpleQueue[tuple[Batch, CallFuture]], in_flight: set[CallFuture], pause_s: float | None
) -> None:
    """Wait until a request has ended, or the rate allows another request."""
    try:
        first = ended.get(timeout=_WAKES_EVERY_S if pause_s is None else min(pause_s, _WAKES_EVERY_S))
    except Empty:
        return
    _end(job, in_flight, *first)
    _take_ended(job, ended, in_flight)


def _take_ended(job: Job, ended: SimpleQueue[tuple[Batch, CallFuture]], in_flight: set[CallFuture]) -> None:
    while not ended.empty():
        _end(job, in_flight, *ended.get_nowait())


def _end(job: Job, in_flight: set[CallFuture], batch: Batch, future: CallFuture) -> None:
    in_flight.discard(future)
    try:
        response = future.result()
    except (Exception, CancelledError) as error:  # noqa: BLE001  a program's `parse_response` may raise any exception
        job.failed(batch, _typed(error), monotonic())
    else:
        job.answered(batch, response, monotonic())


def _typed(error: BaseException) -> BaseException:
    """Return the `EasError` that caused a `PredictException`; return any other error unchanged."""
    return error.__cause__ if isinstance(error.__cause__, EasError) else error
