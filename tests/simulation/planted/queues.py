"""Bugs of queues: frames that are lost, returned twice or committed twice, and reconnects of watches."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed

from eas_tw.net.repeated_call import RepeatedCall
from eas_tw.net.websocket import WebSocketConnection
from eas_tw.queue import operations, watched_queue
from eas_tw.queue.commits import CommitBatches, _Commit
from eas_tw.queue.connections import WatchEnd, _WebSocketWatch
from eas_tw.queue.context import QueueContext
from eas_tw.queue.frames import Frame, frame_of
from eas_tw.queue.http_watch import HttpConnector
from eas_tw.queue.reconnecting import Reconnecting
from eas_tw.queue.watched_queue import WatchedQueue
from eas_tw.queue.watcher import Watcher
from eas_tw.queue.watching import Watching
from eas_tw.queue.wire import watch_request
from eas_tw.request_builder import RequestBuilder
from tests.simulation.planted.bugs import Patch, bug


@bug("queue-nothing-lost", seeds=30)
def every_tenth_frame_dropped(patch: Patch) -> None:
    received = Watcher.watch_received

    def drop(self: Watcher, instance: Any, frames: Any) -> None:
        received(self, instance, [data for data in frames if frame_of(data).index % 10])

    patch(Watcher, "watch_received", drop)


@bug("queue-committed-is-over", seeds=30)
def frames_in_hand_returned_again_after_a_loss(patch: Patch) -> None:
    lost = Watching.lost

    def forget(self: Watching) -> float:
        self._known.clear()
        return lost(self)

    patch(Watching, "lost", forget)


@bug("queue-commit-answered", seeds=30)
def failed_commit_is_silent(patch: Patch) -> None:
    ended = _Commit.ended

    def hide(self: _Commit, index: int, error: Any) -> None:
        ended(self, index, None)

    patch(_Commit, "ended", hide)


@bug("queue-operation-ends", "calm", seeds=20)
def commits_that_wait_are_never_sent(patch: Patch) -> None:
    sent = CommitBatches._sent

    def stop(self: CommitBatches, result: Any, batch: Any) -> None:
        waiting, self._waiting = self._waiting, {}
        sent(self, result, batch)
        self._waiting = waiting
        self._is_sending = bool(waiting)

    patch(CommitBatches, "_sent", stop)


@bug("queue-operation-ends", "calm", seeds=20)
def waiting_for_a_frame_counts_as_silence(patch: Patch) -> None:
    """The deadline of a get does not include the time for which the service may hold the response back."""
    start = RepeatedCall.__init__

    def hurry(self: RepeatedCall, *given: Any, **named: Any) -> None:
        named["hold_s"] = 0.0
        start(self, *given, **named)
        self._timeout_s = min(self._timeout_s, 0.4)

    patch(RepeatedCall, "__init__", hurry)


@bug("queue-window", seeds=60)
def window_of_one_more(patch: Patch) -> None:
    def wide(index: int, window: int, *given: Any, **named: Any) -> Any:
        return watch_request(index, window + 1, *given, **named)

    patch(watched_queue, "watch_request", wide)


@bug("queue-order", seeds=30)
def unread_frames_returned_last_first(patch: Patch) -> None:
    def pop(self: Watching) -> Frame | None:
        if not self._unread or self.is_at_window:
            return None
        frame = self._unread.pop()
        self._unread_bytes -= len(frame.data)
        if not self._auto_commit and frame.index in self._known:
            self._in_hand[frame.index] = None
        return frame

    patch(Watching, "next_frame", pop)


@bug("queue-end nothing-left", "calm", seeds=30)
def end_of_the_stream_taken_for_a_loss(patch: Patch) -> None:
    ended = Reconnecting.connection_ended

    def go_on(self: Reconnecting, end: WatchEnd) -> None:
        ended(self, evolve(end, may_be_complete=False))

    patch(Reconnecting, "connection_ended", go_on)


@bug("queue-end", seeds=60)
def every_end_in_order_taken_for_that_of_the_stream(patch: Patch) -> None:
    """Any WebSocket close code counts as the end of the stream, also 1001 (going away) from a draining instance."""
    ended = _WebSocketWatch.websocket_ended

    def complete(self: _WebSocketWatch, outcome: Any, body: bytes, close_code: int | None) -> None:
        ended(self, outcome, body, None if close_code is None else 1000)

    patch(_WebSocketWatch, "websocket_ended", complete)
    patch(WatchedQueue, "has_ended", lambda self: succeed(True))


@bug("queue-end", seeds=100)
def replaced_watch_taken_for_the_end_of_the_stream(patch: Patch) -> None:
    """The close of a watch that a delayed upgrade of an earlier connection replaces counts as the end of its stream."""
    patch(WatchedQueue, "has_ended", lambda self: succeed(True))


@bug("queue-put-once", seeds=60)
def put_repeated_although_it_may_have_arrived(patch: Patch) -> None:
    call = QueueContext.call

    def repeat(self: QueueContext, request: Any, *given: Any, **named: Any) -> Deferred[Any]:
        if request.method == "POST":
            named["is_idempotent"] = True
        return call(self, request, *given, **named)

    patch(QueueContext, "call", repeat)


@bug("queue-get-once", seeds=60)
def get_repeated_although_its_frames_may_be_deleted(patch: Patch) -> None:
    call = QueueContext.call

    def repeat(self: QueueContext, request: Any, *given: Any, **named: Any) -> Deferred[Any]:
        if request.method == "GET":
            named["is_idempotent"] = True
        return call(self, request, *given, **named)

    patch(QueueContext, "call", repeat)


@bug("queue-frame-content", "calm", seeds=20)
def tags_of_frames_lost(patch: Patch) -> None:
    frames_of = operations.frames_of

    def untagged(content_type: str, body: bytes) -> list[Frame]:
        return [evolve(frame, tags={}) for frame in frames_of(content_type, body)]

    patch(operations, "frames_of", untagged)


@bug("queue-reconnect-pause", seeds=30)
def watch_opened_again_without_a_pause(patch: Patch) -> None:
    lost = Watching.lost

    def hurry(self: Watching) -> float:
        return lost(self) / 1000

    patch(Watching, "lost", hurry)


@bug("queue-reconnect-pause", seeds=60)
def pause_of_a_lost_watch_never_doubled(patch: Patch) -> None:
    lost = Watching.lost

    def short(self: Watching) -> float:
        self._losses = 0
        return lost(self)

    patch(Watching, "lost", short)


@bug("queue-reconnect-pause", seeds=60)
def pause_kept_after_a_frame(patch: Patch) -> None:
    received = Watching.received

    def keep(self: Watching, frame: Frame) -> bool:
        losses = self._losses
        is_new = received(self, frame)
        self._losses = losses
        return is_new

    patch(Watching, "received", keep)


@bug("queue-reconnect-choice", seeds=60)
def lost_watch_goes_to_any_instance(patch: Patch) -> None:
    start, call = _WebSocketWatch._start, HttpConnector.call

    def start_anywhere(self: _WebSocketWatch) -> None:
        self._connector.tried = ()
        start(self)

    def call_anywhere(self: HttpConnector, *given: Any) -> Any:
        self.lost_at = ()
        return call(self, *given)

    patch(_WebSocketWatch, "_start", start_anywhere)
    patch(HttpConnector, "call", call_anywhere)


@bug("queue-closed-is-gone nothing-left", "calm", seeds=20)
def ping_goes_on_after_the_close(patch: Patch) -> None:
    end = WebSocketConnection._end

    def leave(self: WebSocketConnection, *given: Any) -> None:
        end(self, *given)
        if self._is_open:
            self._timer = self._clock.callLater(2.0, self._ping)

    patch(WebSocketConnection, "_end", leave)


@bug("queue-closed-is-gone", "calm", seeds=20)
def watches_forgotten_when_their_client_closes(patch: Patch) -> None:
    async def forget(self: QueueContext) -> None:
        self.watchers.clear()

    patch(QueueContext, "close", forget)


@bug("queue-operation-ends", seeds=20)
def token_function_not_called(patch: Patch) -> None:
    patch(RequestBuilder, "current_token", lambda self: self._token)
