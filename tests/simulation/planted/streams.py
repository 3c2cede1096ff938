"""Bugs of streams: wrong bytes, wrong ends, missing bounds and time limits, and leaks after the end."""

from __future__ import annotations

from typing import Any

from eas_tw.body.piecewise import _Inflating
from eas_tw.net.attempt import Attempt
from eas_tw.net.call import Call
from eas_tw.net.call_context import CallContext
from eas_tw.net.http1 import ClientConnection
from eas_tw.net.stream import ResponseStream
from eas_tw.net.stream_call import StreamCall
from eas_tw.net.upstream import Upstream
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome
from tests.simulation.planted.bugs import Patch, bug


@bug("stream-bytes", seeds=30)
def pieces_that_wait_together_lose_the_last(patch: Patch) -> None:
    take = ResponseStream.take

    def lose(self: ResponseStream) -> Any:
        if len(self._pieces) > 1:
            self._pieces.pop()
        return take(self)

    patch(ResponseStream, "take", lose)


@bug("stream-bytes", seeds=30)
def broken_stream_looks_whole(patch: Patch) -> None:
    end = ResponseStream._end

    def hide(self: ResponseStream, outcome: Outcome) -> None:
        reader, self._reader = self._reader, None
        end(self, outcome)
        self._error = None
        if reader is not None:
            reader.callback(b"")

    patch(ResponseStream, "_end", hide)


@bug("stream-bytes", seeds=60)
def tail_of_a_compressed_body_lost(patch: Patch) -> None:
    """Only the first decompressed part of each piece is returned."""
    feed = _Inflating.feed

    def once(self: _Inflating, piece: bytes) -> Any:
        for number, part in enumerate(feed(self, piece)):
            if not number:
                yield part

    patch(_Inflating, "feed", once)


@bug("hedge-rules telemetry-consistent nothing-left stream-not-repeated", seeds=100)
def head_handed_over_twice(patch: Patch) -> None:
    """The other attempts of a stream are not cancelled when one attempt has received its head."""
    win = Call._win

    def keep_others(self: Call, attempt: Attempt, *, is_whole: bool) -> None:
        if is_whole:
            win(self, attempt, is_whole=True)
            return
        others = tuple(other for other in self._attempts if other is not attempt)
        self._attempts = (attempt,)
        win(self, attempt, is_whole=False)
        self._attempts = others

    patch(Call, "_win", keep_others)


@bug("stream-not-repeated hedge-rules", seeds=50)
def stream_sent_again_after_its_head(patch: Patch) -> None:
    ended = StreamCall._ended

    def again(self: StreamCall, attempt: Attempt, stream: ResponseStream, outcome: Outcome) -> Any:
        error = ended(self, attempt, stream, outcome)
        if error is not None and outcome.attempt_status is AttemptStatus.RESPONSE_TRUNCATED:
            self._is_over = False
            self._try(self._context.seconds())
            self._is_over = True
        return error

    patch(StreamCall, "_ended", again)


@bug("hedge-beside-speaker hedge-rules", seeds=50)
def silence_measured_from_the_beginning(patch: Patch) -> None:
    patch(Attempt, "heard_at", property(lambda self: self.began))
    patch(Attempt, "has_begun", property(lambda self: False))


@bug("stream-buffer-bound", seeds=30)
def slow_reader_pauses_nothing(patch: Patch) -> None:
    patch(ClientConnection, "pause", lambda self: None)


@bug("stream-break-explained stream-time-limits", "calm", seeds=60)
def resume_forgotten_after_a_pause(patch: Patch) -> None:
    def stay(self: ResponseStream) -> None:
        self._is_paused = False
        self._heard_at = self._reactor.seconds()

    patch(ResponseStream, "_resume", stay)


@bug("stream-ends-once call-ends-once", seeds=10)
def waiting_reader_forgotten_at_the_end(patch: Patch) -> None:
    end = ResponseStream._end

    def forget(self: ResponseStream, outcome: Outcome) -> None:
        self._reader = None
        end(self, outcome)

    patch(ResponseStream, "_end", forget)


@bug("stream-time-limits stream-ends-once", seeds=50)
def idle_timer_armed_once(patch: Patch) -> None:
    check = ResponseStream._check_idle

    def once(self: ResponseStream) -> None:
        check(self)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    patch(ResponseStream, "_check_idle", once)


@bug("stream-time-limits stream-break-explained", "calm", seeds=20)
def idle_limit_measured_from_the_head(patch: Patch) -> None:
    feed = ResponseStream.feed

    def unheard(self: ResponseStream, piece: bytes) -> None:
        before = self._heard_at
        feed(self, piece)
        self._heard_at = before

    patch(ResponseStream, "feed", unheard)


@bug("stream-time-limits", "calm", seeds=20)
def total_limit_forgotten(patch: Patch) -> None:
    begin = ResponseStream.open

    def forget(self: ResponseStream) -> None:
        begin(self)
        if self._total_timer is not None:
            self._total_timer.cancel()
            self._total_timer = None

    patch(ResponseStream, "open", forget)


@bug("stream-time-limits", "calm", seeds=20)
def total_limit_in_half_the_time(patch: Patch) -> None:
    begin = ResponseStream.open

    def hurry(self: ResponseStream) -> None:
        total_s = self._limits.total_timeout_s
        if total_s is not None:
            self._limits = type(self._limits)(self._limits.buffer_bytes, self._limits.idle_timeout_s, total_s / 2)
        begin(self)

    patch(ResponseStream, "open", hurry)


@bug(
    "stream-bytes stream-ends-once stream-break-explained failure-explained response-matches-request nothing-left",
    seeds=10,
)
def connection_returned_before_the_streams_end(patch: Patch) -> None:
    begin = ResponseStream.open

    def give_back(self: ResponseStream) -> None:
        source: Any = self._source
        begin(self)
        source._owner.connection_free(source)

    patch(ResponseStream, "open", give_back)


@bug("stream-outcome", seeds=20)
def broken_stream_counted_as_a_success(patch: Patch) -> None:
    ended = StreamCall._ended

    def praise(self: StreamCall, attempt: Attempt, stream: ResponseStream, outcome: Outcome) -> Any:
        record = self._fleet.record

        class Fleet:
            def record(self, attempt: Attempt, _: Outcome, latency_s: float) -> None:
                record(attempt, ANSWERED, latency_s)

        fleet: Any = self._fleet
        self._fleet = Fleet()  # type: ignore[assignment]
        try:
            return ended(self, attempt, stream, outcome)
        finally:
            self._fleet = fleet

    patch(StreamCall, "_ended", praise)


@bug("stream-load", "calm", seeds=20)
def stream_in_flight_until_its_head_only(patch: Patch) -> None:
    def record(self: Upstream, attempt: Attempt) -> None:
        self.record(attempt, ANSWERED)

    patch(Upstream, "began_to_answer", record)
    _end_unrecorded(patch)


@bug("nothing-left", "calm", seeds=20)
def stream_in_flight_for_good(patch: Patch) -> None:
    _end_unrecorded(patch)


def _end_unrecorded(patch: Patch) -> None:
    """Do not report the end of a stream to the fleet."""
    ended = StreamCall._ended

    def forget(self: StreamCall, attempt: Attempt, stream: ResponseStream, outcome: Outcome) -> Any:
        fleet: Any = self._fleet

        class Fleet:
            def record(self, *_: Any) -> None: ...

        self._fleet = Fleet()  # type: ignore[assignment]
        try:
            return ended(self, attempt, stream, outcome)
        finally:
            self._fleet = fleet

    patch(StreamCall, "_ended", forget)


@bug("stream-closed-is-gone", "calm", seeds=20)
def closed_stream_keeps_its_connection(patch: Patch) -> None:
    patch(ClientConnection, "abandon", lambda self: None)


@bug("stream-closed-is-gone nothing-left", "calm", seeds=20)
def timers_of_a_stream_left(patch: Patch) -> None:
    end = ResponseStream._end

    def leave(self: ResponseStream, outcome: Outcome) -> None:
        idle, self._idle_timer = self._idle_timer, None
        end(self, outcome)
        self._idle_timer = idle

    patch(ResponseStream, "_end", leave)


@bug("stream-drain", "calm", seeds=20)
def close_waits_for_calls_only(patch: Patch) -> None:
    def check_idle(self: CallContext) -> None:
        if not self.in_flight:
            self.reactor.callLater(0, self._become_idle)

    drain = CallContext.drain

    async def hurry(self: CallContext, within_s: float, error: Exception) -> None:
        await drain(self, within_s if self.in_flight else 0.0, error)

    patch(CallContext, "check_idle", check_idle)
    patch(CallContext, "drain", hurry)


@bug("stream-drain", "calm", seeds=20)
def streams_survive_their_client(patch: Patch) -> None:
    drain = CallContext.drain

    async def spare(self: CallContext, within_s: float, error: Exception) -> None:
        streams, self.streams = self.streams, {}
        await drain(self, within_s, error)
        self.streams = streams

    patch(CallContext, "drain", spare)
