"""The operations of a queue service: `QueueJob` selects the operation of a request, runs it, and responds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.fault_kinds import COMMIT, PUT
from simulator.messages import Response, text_response
from simulator.queues import wire
from simulator.queues.frames import QueueFullError, StreamEndedError
from simulator.queues.watch import Place, open_watch
from simulator.queues.wire import Parameters, QueueRequestError
from simulator.streaming import PieceReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.faults import Fault
    from simulator.messages import ReceivedRequest
    from simulator.queues.queue import Queue, QueueService
    from simulator.worker_job import JobOwner

_ALLOW = {"Allow": "GET, POST, PUT, DELETE"}
_OK = text_response(200, "OK")


class QueueJob:
    """One request to a queue service, on behalf of its request handler.

    Args:
        owner: The handler, which sends the response.
        service: The queues.
        request: The request.
        below: Path of the request relative to the service's path.
        activate: Draws the faults that apply at a moment, and records them for the journal.
    """

    def __init__(
        self,
        owner: JobOwner,
        service: QueueService,
        request: ReceivedRequest,
        below: str,
        activate: Callable[[str], Sequence[Fault]],
    ) -> None:
        self._owner = owner
        self._service = service
        self._request = request
        self._queue, self._rest = service.find(below)
        self._activate = activate
        self._waiting: _WaitingGet | None = None
        self._reader: PieceReader | None = None

    def begin(self) -> None:
        """Run the operation, and respond. A get that waits for frames, and a delayed commit, respond later."""
        try:
            answer = self._answer(Parameters.of(self._request))
        except QueueRequestError as error:
            answer = text_response(error.status, str(error))
        if answer is not None:
            self._owner.respond(answer)

    def withdraw(self) -> None:
        """Stop waiting, because the client has disconnected."""
        if self._waiting is not None:
            self._waiting.stop()
        if self._reader is not None:
            self._reader.close()

    def _answer(self, parameters: Parameters) -> Response | None:
        method = self._request.method
        if method not in _METHODS:
            return text_response(405, f"a queue has no {method[:20]}")._replace(headers=_ALLOW)
        if self._rest and method != "POST":
            return text_response(404, "only a put may have a path below the queue's own")
        return _METHODS[method](self, parameters)

    # -- GET

    def _read(self, parameters: Parameters) -> Response | None:
        store = self._queue.store
        if parameters.flag("_attrs_"):
            attributes = wire.attributes_of(self._queue, self._service.payload_bytes)
            return wire.attributes_response(attributes, self._request)
        if parameters.flag("_count_"):
            has_priority = "_priority_" in parameters.values
            priority = parameters.number("_priority_", 0, -(10**9), 10**9) if has_priority else None
            return text_response(200, str(store.count(priority, parameters.tags)))
        if parameters.flag("_search_"):
            position = store.search(parameters.index)
            if position is None:
                return text_response(404, f"no frame of index {parameters.index} in {store.name}")
            return wire.position_response(position)
        if parameters.flag("_watch_"):
            self._watch(parameters)
            return None
        return self._get(parameters)

    def _watch(self, parameters: Parameters) -> None:
        stream = open_watch(self._queue, parameters, self._request, Place(self._owner.instance, self._activate))
        self._reader = reader = PieceReader(stream.body, self._owner.clock)
        reader.unread(b"")  # sends the head immediately, although the first frame may come much later
        self._owner.respond_stream(stream, reader, reader.close)

    def _get(self, parameters: Parameters) -> Response | None:
        waiting = _WaitingGet(self._queue, parameters, self._request, self._owner)
        waiting.queue_changed()
        if not waiting.is_over:
            self._waiting = waiting
        return None

    # -- POST

    def _write(self, parameters: Parameters) -> Response:
        if parameters.flag("_eos_"):
            self._queue.store.end(force=parameters.flag("_force_"))
            self._queue.changed()
            return _OK
        data, most = self._request.body, self._service.payload_bytes
        if len(data) > most:
            return text_response(
                413, f"the payload has {len(data)} bytes; the queue takes {most} (meta.maxPayloadBytes)"
            )
        priority = wire.priority_of(self._request, parameters)
        if any(fault.type == "full" for fault in self._activate(PUT)):
            return self._full()
        try:
            frame = self._queue.put(data, parameters.tags, priority, self._rest)
        except QueueFullError:
            return self._full()
        except StreamEndedError:
            return text_response(410, "the stream has ended: nothing more can be put")
        return wire.put_response(frame)

    def _full(self) -> Response:
        store = self._queue.store
        return text_response(429, f"{store.name} is full: it has {len(store.frames)} of {store.max_length} frames")

    # -- PUT and DELETE

    def _commit(self, parameters: Parameters) -> Response | None:
        indexes, group = parameters.indexes, parameters.group
        is_reject = parameters.flag("_negative_")
        code = wire.reject_code(self._request.body) if is_reject else ""

        def act() -> None:
            if is_reject:
                self._queue.store.reject(group, indexes, code)
                self._queue.changed()
            else:
                self._queue.commit(group, indexes)

        delay_s = sum(fault.get("delay") for fault in self._activate(COMMIT) if fault.type == "delay_commit") / 1000
        if delay_s <= 0:
            act()
            return _OK
        # The timer belongs to the instance: the commit takes effect even if the client has disconnected by then.
        self._owner.instance.later(delay_s, self._act_late, act)
        return None

    def _act_late(self, act: Callable[[], None]) -> None:
        act()
        self._owner.respond(_OK)

    def _remove(self, parameters: Parameters) -> Response:
        if parameters.flag("_trunc_"):
            self._queue.store.truncate(parameters.number("_index_", 0, 0, wire.MAX_INDEX))
        else:
            self._queue.store.delete(parameters.indexes)
        self._queue.changed()
        return _OK


_METHODS: dict[str, Callable[[QueueJob, Parameters], Response | None]] = {
    "GET": QueueJob._read,  # noqa: SLF001  the class's own table
    "POST": QueueJob._write,  # noqa: SLF001
    "PUT": QueueJob._commit,  # noqa: SLF001
    "DELETE": QueueJob._remove,  # noqa: SLF001
}


class _WaitingGet:
    """A get that is answered when the queue has the requested number of frames, or after its timeout.

    Args:
        queue: The queue.
        parameters: The parameters of the get.
        request: The request.
        owner: Sends the response.

    Attributes:
        is_over: Whether the get has been answered or stopped.
    """

    def __init__(self, queue: Queue, parameters: Parameters, request: ReceivedRequest, owner: JobOwner) -> None:
        self._queue = queue
        self._request = request
        self._owner = owner
        self._index, self._tags, self._group = parameters.index, parameters.tags, parameters.group
        self._length = max(0, parameters.number("_length_", 1, -1, wire.MAX_INDEX))
        self._is_raw = parameters.flag("_raw_")
        self._deletes = parameters.flag("_auto_delete_")
        self._timeout_s = parameters.timeout_s
        self._timer: Any = None
        self._is_held = False
        self.is_over = False

    def queue_changed(self) -> None:
        """Respond if there are enough frames; otherwise, or while the instance hangs, wait (`QueueListener`)."""
        if self.is_over or self._is_held:
            return
        if self._owner.instance.is_hung:
            self._is_held = True
            self._owner.instance.when_running(self._release)
            return
        frames = self._queue.store.find(self._index, self._length, self._tags, self._group)
        wanted = min(self._length or 1, 1 if self._index < 0 else self._length or 1)
        if len(frames) >= wanted or self._timeout_s <= 0 or self._queue.store.has_ended:
            self._end()
        elif self._timer is None:
            self._timer = self._queue.clock.callLater(self._timeout_s, self._expire)
            self._queue.listen(self)

    def queue_cleared(self) -> None:
        """Do nothing: the get continues to wait (`QueueListener`)."""

    def stop(self) -> None:
        """Stop waiting without a response."""
        self.is_over = True
        self._queue.unlisten(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        self._is_held = False
        self.queue_changed()

    def _expire(self) -> None:
        self._timer = None
        self._timeout_s = 0.0
        self.queue_changed()

    def _end(self) -> None:
        self.stop()
        frames = self._queue.store.find(self._index, self._length, self._tags, self._group)
        answer = wire.frames_response(frames, self._request, raw=self._is_raw)
        if self._deletes and frames:  # first, since the connection may handle another get after the response
            self._queue.store.delete([frame.index for frame in frames])
            self._queue.changed()
        self._owner.respond(answer)
