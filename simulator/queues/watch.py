"""A watch: the frames of one consumer as the pieces of a streamed response, over WebSocket or plain HTTP.

A frame is taken from the queue only when the connection can send it. While a client reads slowly, the frames
remain available to the other consumers of its group.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred

from simulator.delivery import Ending
from simulator.fault_kinds import FRAME
from simulator.queues.protobuf import frame_bytes
from simulator.queues.websocket import GOING_AWAY, NORMAL, WebSocket, accept_headers, offers_websocket
from simulator.queues.wire import PROTOBUF
from simulator.streaming import End, StreamPlan, StreamResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from simulator.faults import Fault
    from simulator.instance import SimulatedInstance
    from simulator.messages import ReceivedRequest
    from simulator.queues.frames import Frame
    from simulator.queues.queue import Queue
    from simulator.queues.wire import Parameters
    from simulator.streaming import Item

CLOSE_TIMEOUT_S = 5.0
"""Seconds that the server waits for the client's Close frame after the server's Close frame."""
_SWITCHING_PROTOCOLS = 101
_LENGTH_BYTES = 4


@frozen
class Place:
    """The instance and the faults of a watch.

    Attributes:
        instance: The instance of the watch's connection.
        activate: Draws the faults that apply at a moment, and records them for the journal.
    """

    instance: SimulatedInstance
    activate: Callable[[str], Sequence[Fault]]


def open_watch(queue: Queue, parameters: Parameters, request: ReceivedRequest, place: Place) -> StreamResponse:
    """Open a watch, and return the response that carries it.

    Raises:
        QueueRequestError: The parameters or the WebSocket handshake are invalid.
    """
    if not offers_websocket(request):
        watch = Watch(queue, parameters, place, None)
        return StreamResponse(watch, content_type=PROTOBUF, plan=StreamPlan(own_steps=[_Drop(watch)]))
    headers = accept_headers(request)
    socket = WebSocket()
    watch = Watch(queue, parameters, place, socket)
    return StreamResponse(
        watch,
        _SWITCHING_PROTOCOLS,
        "",
        headers,
        receive=watch.receive,
        plan=StreamPlan(own_steps=[_Drop(watch)]),
    )


class Watch:
    """A watch of a queue: an asynchronous iterator of the bytes to send (`QueueListener`).

    Args:
        queue: The queue.
        parameters: The parameters of the request.
        place: The instance and the faults.
        socket: The WebSocket; `None` for plain HTTP.

    Attributes:
        drop: Action of a fault on the connection, after the piece that was taken last; `None` for none.
    """

    def __init__(self, queue: Queue, parameters: Parameters, place: Place, socket: WebSocket | None) -> None:
        self._queue = queue
        self._group, self._user, self._settings = parameters.group, parameters.user, parameters.watch
        self._place = place
        self._socket = socket
        self._pieces: deque[bytes] = deque()
        self._reader: Deferred[None] | None = None
        self._timer: Any = None
        self._is_over = self._is_held = False
        self.drop: Ending | None = None
        self._join()
        queue.listen(self)
        place.instance.watches[self] = None
        queue.changed()  # an earlier watch of the same user has ended, and its frames wait again

    # -- the pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._advance():
            if self._is_over:
                raise StopAsyncIteration
            self._reader = Deferred()
            await self._reader
        return self._pieces.popleft()

    async def aclose(self) -> None:
        """End the watch, because its connection is lost or its stream has ended."""
        self._end()
        self._queue.changed()

    def receive(self, data: bytes) -> None:
        """Read bytes that the client sends after the upgrade."""
        if self._socket is not None:
            self._socket.receive(data)
            self.queue_changed()

    # -- the queue

    def queue_changed(self) -> None:
        """Take a frame, if the connection waits for one and the instance runs (`QueueListener`)."""
        if not self._place.instance.is_hung:
            self._wake()
        elif not self._is_held:
            self._is_held = True
            self._place.instance.when_running(self._release)

    def queue_cleared(self) -> None:
        """Join the empty queue again (`QueueListener`)."""
        if not self._is_over:
            self._join()

    def _release(self) -> None:
        self._is_held = False
        self._wake()

    def leave(self) -> None:
        """End the watch, because its instance terminates."""
        self._close(GOING_AWAY)
        self._wake()

    def _join(self) -> None:
        self._consumer = self._queue.store.join(self._group, self._user, self._settings, self._queue.now)

    def _wake(self) -> None:
        reader = self._reader
        if reader is not None and (self._advance() or self._is_over):
            self._reader = None
            if not reader.called:
                reader.callback(None)

    def _advance(self) -> bool:
        """Make the next piece available; return whether there is a piece."""
        self._answer_client()
        if not self._pieces and not self._is_over and not self._is_closing:
            frame = self._queue.store.take(self._group, self._consumer, self._queue.now)
            if frame is not None:
                self._send(frame)
                if self._settings.auto_commit:
                    self._queue.changed()  # watches of an ended stream end with the last commit
            elif not self._consumer.is_running or self._queue.store.has_ended_for(self._group):
                self._close(NORMAL)
        return bool(self._pieces)

    def _send(self, frame: Frame) -> None:
        record = frame_bytes(frame, index_only=self._settings.index_only)
        piece = self._framed(record)
        for fault in self._place.activate(FRAME):
            if fault.type == "duplicate_frame":
                piece += self._framed(record)
            elif fault.type == "drop_watch":
                self.drop = Ending.RESET if fault.get("reset") else Ending.CLOSE
            elif fault.type == "redeliver":
                self._place.instance.later(fault.get("after") / 1000, self._redeliver, frame.index)
        self._pieces.append(piece)

    def _framed(self, record: bytes) -> bytes:
        if self._socket is not None:
            return self._socket.message(record)
        return len(record).to_bytes(_LENGTH_BYTES, "big") + record

    def _redeliver(self, index: int) -> None:
        if self._queue.store.redeliver(self._group, index):
            self._queue.changed()

    # -- the end

    @property
    def _is_closing(self) -> bool:
        return self._socket is not None and self._socket.has_closed

    def _answer_client(self) -> None:
        """Append a pong, or the answer to a Close frame, to the pieces, before further frames."""
        socket = self._socket
        if socket is None or self._is_over:
            return
        if socket.pong:
            self._pieces.append(socket.pong)
            socket.pong = b""
        if socket.close_reply is not None:
            if socket.close_reply:
                self._pieces.append(socket.close_reply)
            self._end()

    def _close(self, code: int) -> None:
        """End the watch: on a WebSocket with a Close frame, which the client answers, otherwise by ending the body."""
        if self._is_over or self._is_closing:
            return
        if self._socket is None:
            self._end()
            return
        self._pieces.append(self._socket.close(code))
        self._leave_queue()
        self._timer = self._queue.clock.callLater(CLOSE_TIMEOUT_S, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._end()
        self._wake()

    def _end(self) -> None:
        self._is_over = True
        self._leave_queue()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave_queue(self) -> None:
        self._queue.unlisten(self)
        self._place.instance.watches.pop(self, None)
        self._queue.store.leave(self._group, self._consumer, self._queue.now)


class _Drop:
    """Ends the connection of a watch after the frame at which a fault has applied (`Step`).

    Args:
        watch: The watch.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the changed items (`Step`)."""
        for item in items:
            yield item
            if self._watch.drop is not None and not isinstance(item, End):
                yield End(self._watch.drop)
                return
