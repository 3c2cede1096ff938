"""The job of a worker for one request or frame: runs the processor, and reads the first piece of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred

from simulator.later import Later
from simulator.messages import Response, text_response
from simulator.streaming import PieceReader, StreamResponse, is_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.instance import SimulatedInstance


class JobOwner(Protocol):
    """The owner of a job: the handler of a request, or the computation of a frame."""

    @property
    def instance(self) -> SimulatedInstance:
        """The instance whose worker runs the job."""

    @property
    def clock(self) -> Any:
        """The clock of the simulator."""

    @property
    def is_over(self) -> bool:
        """Whether a response is no longer needed."""

    def work_s(self) -> float:
        """Draw the time that a worker takes before the processor runs, in seconds."""

    def compute(self) -> Any:
        """Run the processor, and return its result (`compute_request`)."""

    def respond(self, response: Response) -> None:
        """Send or store the response of the job."""

    def respond_stream(self, stream: StreamResponse, reader: PieceReader, done: Callable[[], None]) -> None:
        """Send or store a stream whose first piece has been read, and call `done` when it has ended."""


class WorkerJob:
    """A worker's job for its owner. If the owner ends first, the job continues, but a stream is closed."""

    __slots__ = ("_handler", "_instance", "_reader", "_workers")

    def __init__(self, handler: JobOwner) -> None:
        self._handler = handler
        self._instance = handler.instance
        self._workers = self._instance.workers
        self._reader: PieceReader | None = None

    def submit(self) -> bool:
        """Begin the work, now or when a worker is free; return `False` if the queue is full."""
        return self._workers.submit(self)

    def withdraw(self) -> None:
        """Remove the job from the queue. A job that has begun continues, but its stream, if any, is closed."""
        self._workers.withdraw(self)
        self._end_stream()

    def begin(self) -> None:
        """Begin the work, because a worker is free."""
        taken_s = self._handler.work_s()
        if taken_s > 0:
            self._instance.later(taken_s, self._compute)
        else:
            self._compute()

    def _compute(self) -> None:
        try:
            result = self._handler.compute()
        except Exception as error:  # noqa: BLE001  a processor's exception becomes a 400
            self._finish(text_response(400, str(error) or type(error).__name__))
            return
        self._receive(result)

    def _receive(self, result: Any) -> None:
        if isinstance(result, bytes):
            self._finish(Response(200, result))
        elif isinstance(result, Deferred):
            result.addCallbacks(self._receive, self._raised)
        elif isinstance(result, Later):
            self._instance.later(result.seconds.draw(self._instance.rng), self._receive, result.value)
        elif isinstance(result, str):
            self._finish(Response(200, result.encode()))
        elif isinstance(result, Response):
            self._finish(result)
        elif isinstance(result, StreamResponse):
            self._begin_stream(result)
        elif is_stream(result):
            self._begin_stream(StreamResponse(result))
        elif isinstance(result, bytearray | memoryview):
            self._finish(Response(200, bytes(result)))
        else:
            self._finish(text_response(500, f"the processor answered a {type(result).__name__}, not bytes or text"))

    def _raised(self, failure: Any) -> None:
        self._finish(text_response(400, failure.getErrorMessage() or failure.type.__name__))

    def _finish(self, response: Response) -> None:
        self._handler.respond(response)
        self._workers.done()

    # -- streams: an exception before the first piece becomes a 400

    def _begin_stream(self, stream: StreamResponse) -> None:
        self._reader = PieceReader(stream.body, self._handler.clock, self._instance.rng)
        if self._handler.is_over:
            self._end_stream()
            return
        try:
            first = self._reader.read()
        except Exception as error:  # noqa: BLE001  a processor's exception becomes a 400
            self._refuse(str(error) or type(error).__name__)
            return
        if isinstance(first, Deferred):
            first.addCallbacks(self._first_came, self._first_raised, callbackArgs=(stream,))
        else:
            self._first_came(first, stream)

    def _first_came(self, piece: bytes | None, stream: StreamResponse) -> None:
        if self._reader is not None:
            self._reader.unread(piece)
            self._handler.respond_stream(stream, self._reader, self._end_stream)

    def _first_raised(self, failure: Any) -> None:
        if self._reader is not None:
            self._refuse(failure.getErrorMessage() or type(failure.value).__name__)

    def _refuse(self, why: str) -> None:
        self._handler.respond(text_response(400, why))
        self._end_stream()

    def _end_stream(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
            self._workers.done()
