"""Runs a job on a `Clock`, with a service whose responses are set by the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from eas_tw.bulk import JobOptions
from eas_tw.bulk.engine import Engine, each_to
from eas_tw.bulk.job import Job
from tests.net.calling import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Run:
    """A job whose rows are the requests, and whose responses are the outputs, unless `options` has other functions.

    Args:
        rows: The rows of the job.
        sink: Called with each output; `None` collects the outputs in `outputs`.
        options: Options of the job.
    """

    def __init__(
        self, rows: Iterable[Any], sink: Callable[[Any], Any] | None = None, clock: Clock | None = None, **options: Any
    ) -> None:
        self.clock = clock or Clock()
        self.outputs: list[Any] = []
        self.sent: list[Any] = []
        self.sent_at: list[float] = []
        self.calls: dict[Any, Deferred[Any]] = {}
        self.cancelled: list[Any] = []
        functions = (
            {"encode": lambda row: row, "decode": lambda _, response: response} if "batch_size" not in options else {}
        )
        self.job = Job(rows, JobOptions(**{**functions, **options}), self.clock.seconds())
        self.engine = Engine(
            self.job, self.predict, self.clock, each_to(sink or self.outputs.append, lambda given: given)
        )
        self.result = Result(self.engine.run())

    def predict(self, request: Any) -> Deferred[Any]:
        key = request if isinstance(request, (int, str)) else tuple(request)
        self.sent.append(key)
        self.sent_at.append(self.clock.seconds())
        call: Deferred[Any] = Deferred(lambda _: self.cancelled.append(key))
        self.calls[key] = call
        return call

    def answer(self, *keys: Any) -> None:
        for key in keys:
            self.calls.pop(key).callback([f"of {row}" for row in key] if isinstance(key, tuple) else f"of {key}")

    def fail(self, key: Any, error: Exception) -> None:
        self.calls.pop(key).errback(error)

    def answer_all(self) -> None:
        while self.calls:
            self.answer(*list(self.calls))
