"""The worker of an instance: takes frames from the input queue, computes them, and puts the results into the sink.

Each instance of a queue service is a consumer of the group `workers`, with its number of workers as window. A frame is
committed when its result is in the sink. If the instance crashes before that, another instance computes it again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from twisted.internet.defer import Deferred

from simulator.computation import compute_request, work_s
from simulator.messages import ReceivedRequest, Response, text_response
from simulator.queues.frames import QueueFullError, StreamEndedError, WatchSettings
from simulator.worker_job import WorkerJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.instance import SimulatedInstance
    from simulator.queues.frames import Consumer, Frame
    from simulator.queues.queue import QueueService
    from simulator.streaming import PieceReader, StreamResponse

WORKERS = "workers"
"""The group of the workers in the input queue."""
LAST_CODE = "lastCode"
"""The tag with the processor's HTTP status, if that is not 200."""
_OK = 200


class QueueWorker:
    """The worker of one instance (`QueueListener`).

    Args:
        instance: The instance.
        service: The queues of the instance's service.
    """

    def __init__(self, instance: SimulatedInstance, service: QueueService) -> None:
        self._instance = instance
        self._service = service
        self._consumer: Consumer | None = None
        self._results: deque[tuple[Frame, Response]] = deque()
        self._is_taking = False

    def start(self) -> None:
        """Start taking frames."""
        if self._consumer is None:
            self._join()
            for queue in self._service.queues:  # the sink too: a worker waits while the sink is full
                queue.listen(self)
        self._service.input.changed()

    def stop(self) -> None:
        """Stop taking frames, because the instance has crashed or is removed; its pending frames wait again."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        self._results.clear()
        for queue in self._service.queues:
            queue.unlisten(self)
        source = self._service.input
        source.store.leave(WORKERS, consumer, source.now)
        source.changed()

    def queue_changed(self) -> None:
        """Put waiting results into the sink, and take frames (`QueueListener`)."""
        if self._is_taking:
            return  # called by a computation that has ended immediately: the loop of the outer call continues
        self._is_taking = True
        try:
            while self._put_results() and self._can_take and (frame := self._take()) is not None:
                WorkerJob(_FrameJob(self._instance, frame, self._finish)).submit()
        finally:
            self._is_taking = False

    def queue_cleared(self) -> None:
        """Join the empty queue again (`QueueListener`)."""
        if self._consumer is not None:
            self._results.clear()
            self._join()

    def _join(self) -> None:
        source = self._service.input
        settings = WatchSettings(window=self._instance.service.spec.workers)
        self._consumer = source.store.join(WORKERS, self._instance.id, settings, source.now)

    @property
    def _can_take(self) -> bool:
        instance = self._instance
        return not (instance.is_hung or instance.is_draining) and self._service.sink.store.has_room

    def _take(self) -> Frame | None:
        source = self._service.input
        return source.store.take(WORKERS, self._consumer, source.now) if self._consumer is not None else None

    def _finish(self, frame: Frame, response: Response) -> None:
        # The result is dropped if the frame was deleted, or taken before a reset of the simulator.
        if self._consumer is not None and self._service.input.store.frames.get(frame.index) is frame:
            self._results.append((frame, response))
            self._service.input.changed()

    def _put_results(self) -> bool:
        """Put the results that wait; return whether there was room for all of them."""
        while self._results:
            frame, response = self._results[0]
            failure = {} if response.status == _OK else {LAST_CODE: str(response.status)}
            try:
                if response.body:
                    self._service.sink.put(response.body, {**frame.tags, **failure})
            except QueueFullError:
                return False
            except StreamEndedError:
                pass  # the result is dropped
            self._results.popleft()
            self._service.input.commit(WORKERS, [frame.index])
        return True


class _FrameJob:
    """The computation of one frame (`JobOwner`).

    Args:
        instance: The instance.
        frame: The frame.
        finish: Called with the frame and its response.
    """

    def __init__(self, instance: SimulatedInstance, frame: Frame, finish: Callable[[Frame, Response], None]) -> None:
        self.instance = instance
        self._frame = frame
        self._finish = finish
        self._life = instance.life

    @property
    def clock(self) -> Any:
        """The clock of the simulator."""
        return self.instance.service.world.reactor

    @property
    def is_over(self) -> bool:
        """Whether the instance has crashed or been stopped since the frame was taken."""
        return self._life != self.instance.life

    def work_s(self) -> float:
        """Draw the time that a worker takes, under the faults `slow`, in seconds."""
        instance, world = self.instance, self.instance.service.world
        if world.faults.is_quiet:
            return work_s(instance, ())
        faults = world.faults.on_instance(
            instance.service.name, instance.id, instance.zone, takes=lambda fault: fault.type == "slow"
        )
        return work_s(instance, faults)

    def compute(self) -> Any:
        """Run the processor on the frame, as a POST of its data with its tags as query."""
        frame = self._frame
        target = f"/api/predict/{self.instance.service.name}" + (f"/{quote(frame.path)}" if frame.path else "")
        unconnected: Any = None  # a frame did not arrive on a connection of this instance
        request = ReceivedRequest("POST", f"{target}?{urlencode(dict(frame.tags))}", {}, frame.data, unconnected)
        return compute_request(self.instance, request)

    def respond(self, response: Response) -> None:
        """Pass the result to `finish`, now or, if the instance hangs, when it runs again."""
        if not self.is_over:
            self.instance.when_running(lambda: self._finish(self._frame, response))

    def respond_stream(self, stream: StreamResponse, reader: PieceReader, done: Callable[[], None]) -> None:
        """Read the whole stream, because a frame has one result."""
        gathering: Deferred[bytes] = Deferred.fromCoroutine(_gather(reader))
        gathering.addCallbacks(
            lambda body: self.respond(Response(stream.status, body, stream.content_type)),
            lambda failure: self.respond(text_response(500, failure.getErrorMessage() or failure.type.__name__)),
        )
        gathering.addBoth(lambda _: done())


async def _gather(reader: PieceReader) -> bytes:
    pieces: list[bytes] = []
    while True:
        piece = reader.read()
        found = await piece if isinstance(piece, Deferred) else piece
        if found is None:
            return b"".join(pieces)
        pieces.append(found)
