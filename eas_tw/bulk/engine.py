"""`Engine`, which executes the decisions of a `Job` with Deferreds, for Twisted and asyncio."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from eas_tw.bulk.job import Job, Pause, Send
from eas_tw.bulk.options import JobOptions, check_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw import PredictClient
    from eas_tw.bulk.report import ScoringReport
    from eas_tw.bulk.rows import Batch


class Engine:
    """Sends the requests of a job and delivers its outputs.

    Args:
        job: The job.
        predict: A function that takes a request and returns a Deferred of the response.
        clock: The clock (`IReactorTime`), from which the job's `began_at` was also read.
        deliver: A function that takes a list of the outputs that are ready, at least one. It returns `None`, or a
            Deferred that fires when the function can be called with the next list.
    """

    def __init__(
        self,
        job: Job,
        predict: Callable[[Any], Deferred[Any]],
        clock: Any,
        deliver: Callable[[list[Any]], Deferred[Any] | None],
    ) -> None:
        self._job = job
        self._predict = predict
        self._clock = clock
        self._deliver = deliver
        self._done: Deferred[ScoringReport] = Deferred(self._cancelled)
        self._in_flight: set[Deferred[Any]] = set()
        self._timer: IDelayedCall | None = None
        self._is_delivering = False
        self._waiters: list[Deferred[None]] = []
        self._is_turning = False
        self._is_over = False

    def run(self) -> Deferred[ScoringReport]:
        """Run the job.

        Returns:
            A Deferred. Cancelling it cancels the requests in flight. It

            1. fires with the report of the job;
            2. fails with `TooManyErrors`; with the error of a row, if `on_error` is `raise`; with an exception of the
               rows' iterator or of `deliver`; or with a `BaseException` of `encode` or `decode` that is not an
               `Exception`, such as `SystemExit`.
        """
        self._turn()
        return self._done

    def wake(self) -> None:
        """Continue after the iterator of the rows has returned `NOT_READY`; superfluous calls have no effect."""
        if not self._is_over:
            self._turn()

    def settled(self) -> Deferred[None]:
        """Return a Deferred that fires when no output is being delivered; after a cancel, a delivery may still run."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        self._tell_if_settled()
        return waiter

    def _tell_if_settled(self) -> None:
        if not self._is_delivering:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def _turn(self) -> None:
        """Send and deliver everything that is possible now, and fire the Deferred of `run` if the job is done.

        A request may end while it is being sent, and `deliver` may return `None`. Both cases are handled in a loop,
        because a recursion could be as deep as the number of rows.
        """
        if self._is_turning:
            return
        self._is_turning = True
        try:
            while self._step():
                pass
        except BaseException as error:  # noqa: BLE001  the rows' iterator, `encode` or `deliver` may raise it
            self._job.stop(error)
        finally:
            self._is_turning = False
        if self._job.error is not None:
            self._abandon()
        if self._job.is_done and not self._is_delivering and not self._is_over:
            self._is_over = True
            self._end()

    def _step(self) -> bool:
        """Deliver outputs, or send one request; return whether another step may be possible."""
        if self._job.error is not None:
            return False
        if self._job.has_outputs and not self._is_delivering:
            self._hand_over(self._job.take())
            return True
        if self._timer is not None:
            return False
        decided = self._job.next(self._clock.seconds())
        if isinstance(decided, Send):
            self._send(decided)
            return True
        if isinstance(decided, Pause):
            self._timer = self._clock.callLater(decided.delay_s, self._resume)
        # `Job.next` has made an error row of each row that cannot be encoded.
        return self._job.has_outputs and not self._is_delivering

    def _send(self, decided: Send) -> None:
        running = maybeDeferred(self._predict, decided.request)
        self._in_flight.add(running)
        running.addBoth(self._request_ended, decided.batch, running)

    def _request_ended(self, result: Any, batch: Batch, running: Deferred[Any]) -> None:
        # A single callback for results and failures, because a second callback would take time for every row.
        self._in_flight.discard(running)
        now = self._clock.seconds()
        try:
            if isinstance(result, Failure):
                error: Any = result.value
                self._job.failed(batch, error, now)
            else:
                self._job.answered(batch, result, now)
        except BaseException as error:  # noqa: BLE001  `decode` has raised a BaseException such as SystemExit
            self._job.stop(error)
        self._turn()

    def _resume(self) -> None:
        self._timer = None
        self._turn()

    def _hand_over(self, outputs: list[Any]) -> None:
        count = len(outputs)
        waiting = self._deliver(outputs)
        if waiting is None:
            self._job.delivered(count)
            return
        self._is_delivering = True
        waiting.addCallbacks(lambda _: self._job.delivered(count), lambda failure: self._job.stop(failure.value))
        waiting.addBoth(self._has_delivered)

    def _has_delivered(self, _: None) -> None:
        self._is_delivering = False
        self._turn()
        self._tell_if_settled()

    def _cancelled(self, _: Deferred[Any]) -> None:
        self._job.stop(CancelledError())
        self._turn()

    def _abandon(self) -> None:
        """Cancel the timer and the requests in flight, because the job has ended early."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._in_flight:
            self._in_flight.pop().cancel()

    def _end(self) -> None:
        if self._done.called:  # cancelled while an output was being delivered
            return
        try:
            report = self._job.result(self._clock.seconds())
        except BaseException as error:  # noqa: BLE001  the caller expects every error in the Deferred
            self._done.errback(error)
        else:
            self._done.callback(report)


def each_to(sink: Callable[[Any], Any], as_deferred: Callable[[Any], Deferred[Any]]) -> Callable[..., Any]:
    """Return a `deliver` function for `Engine` that calls a sink with one output at a time.

    Args:
        sink: The function. If it returns an awaitable, the next output is passed after the awaitable has completed.
        as_deferred: A function that converts an awaitable to a Deferred.
    """

    async def rest(first: Any, outputs: list[Any]) -> None:
        await as_deferred(first)
        for output in outputs:
            waiting = sink(output)
            if inspect.isawaitable(waiting):
                await as_deferred(waiting)

    def deliver(outputs: list[Any]) -> Deferred[Any] | None:
        for number, output in enumerate(outputs, 1):
            waiting = sink(output)
            if inspect.isawaitable(waiting):
                return Deferred.fromCoroutine(rest(waiting, outputs[number:]))
        return None

    return deliver


def _deferred(waiting: Any) -> Deferred[Any]:
    return waiting if isinstance(waiting, Deferred) else Deferred.fromCoroutine(waiting)


def score_with_twisted(
    rows: Iterable[Any], sink: Callable[[Any], Any], *, client: PredictClient, **options: Any
) -> Deferred[ScoringReport]:
    """Score rows with a Twisted client; see `eas_tw.bulk.score`."""

    async def run() -> ScoringReport:
        check_arguments(rows, sink)
        settings = JobOptions(**options)
        await client.init()
        clock = client.clock
        job = Job(rows, settings, clock.seconds())
        predict = partial(client.predict, **settings.call_arguments)
        return await Engine(job, predict, clock, each_to(sink, _deferred)).run()

    return Deferred.fromCoroutine(run())
