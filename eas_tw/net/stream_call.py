"""Calls whose responses are read while they arrive, and calls whose responses have no body.

Attempts, retries and hedges work as for other calls, until the head of a 2xx response is complete. Then the caller
receives the response, and there are no more retries, because bytes that it has read cannot be withdrawn. A later
failure is a `StreamBroken`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from eas_tw.errors import StreamBroken
from eas_tw.net.call import Call
from eas_tw.net.exchange import NoBody
from eas_tw.net.stream import ResponseStream
from eas_tw.policy.balancing import NO_CALL
from eas_tw.policy.outcomes import ANSWERED, SUCCESSES, AttemptResult, AttemptStatus, Outcome

if TYPE_CHECKING:
    from eas_tw.net.attempt import Attempt, WireRequest
    from eas_tw.net.call import Reader
    from eas_tw.net.call_context import CallContext
    from eas_tw.net.fleet import Fleet
    from eas_tw.net.stream import Source, StreamLimits
    from eas_tw.policy.balancing import CallInfo

# Recorded when `total_timeout_s` ends a stream, which is neither a success nor a failure of the instance.
_NOT_ITS_DOING = Outcome(AttemptStatus.CANCELLED)


class BodilessCall(Call):
    """A HEAD request, whose responses end with their heads (RFC 9110 §9.3.2)."""

    __slots__ = ()

    def on_head(self, attempt: Attempt, connection: Source, status: int, head: bytes) -> type[NoBody]:  # noqa: ARG002
        """Return `NoBody`: a response to HEAD has no body, whatever its Content-Length says."""
        return NoBody


class StreamCall(Call):
    """A call that ends when the head of a 2xx response has arrived; `done` fires with the `ResponseStream`.

    Args:
        context: The resources that the calls of the client share.
        fleet: The instances.
        request: The request to send.
        reader: The object that converts an error response, which is received completely; the `parser` that it receives
            is the method `whole`.
        limits: The bounds of the stream.
        timeout_s: The maximum time until the head has arrived, in seconds.
        info: The `CallInfo` for the balancer.
        is_idempotent: Whether the call may be sent to an instance after another instance may have received it.
    """

    __slots__ = ("_latency_s", "limits")

    def __init__(
        self,
        context: CallContext,
        fleet: Fleet,
        request: WireRequest,
        reader: Reader,
        limits: StreamLimits,
        timeout_s: float,
        *,
        info: CallInfo = NO_CALL,
        is_idempotent: bool,
    ) -> None:
        super().__init__(context, fleet, request, reader, self.whole, timeout_s, info=info, is_idempotent=is_idempotent)
        self.limits = limits
        self._latency_s = 0.0

    def avoid(self, keys: tuple[tuple[str, int], ...]) -> None:
        """Avoid the instances with these keys (ip and port) if other instances exist; call this before `start`."""
        self._tried = keys

    def on_head(
        self, attempt: Attempt, connection: Source, status: int, head: bytes
    ) -> ResponseStream | type[NoBody] | None:
        """Return the stream for a 2xx response; other responses are collected, and may be retried."""
        if self.request.method == b"HEAD":
            return NoBody
        if status not in SUCCESSES or attempt not in self._attempts:
            return None
        began, ended = partial(self._opened, attempt), partial(self._ended, attempt)
        return ResponseStream(self._context.reactor, connection, status, head, self.limits, on_open=began, on_end=ended)

    def whole(self, status: int, head: bytes, body: bytes) -> ResponseStream:
        """Return a stream with the body of a complete response, which was collected because its status is an error."""
        stream = ResponseStream(
            self._context.reactor, _Nowhere(), status, head, self.limits, on_open=_ignore, on_end=_no_error
        )
        if body:
            stream.feed(body)
        stream.finished()
        return stream

    def _opened(self, attempt: Attempt, stream: ResponseStream) -> None:
        if attempt not in self._attempts:
            stream.close()
            return
        context = self._context
        context.streams[stream] = None
        self._latency_s = context.seconds() - attempt.began
        try:
            context.record.stream_began()
            self._win(attempt, is_whole=False)
            if self._is_over:
                stream.close()
            else:
                self._end(stream, "", attempt.instance)
        except BaseException as error:  # noqa: BLE001  an exception ends only this call
            stream.close()
            self._break_off(error)

    def _ended(self, attempt: Attempt, stream: ResponseStream, outcome: Outcome) -> Exception | None:
        """Record the end of a stream and its attempt; return the error for the reader, `None` for a complete body."""
        context = self._context
        now = context.seconds()
        try:
            context.streams.pop(stream, None)
            # `total_timeout_s` has ended a stream whose instance was still sending.
            is_bounded = outcome.attempt_status is AttemptStatus.DEADLINE
            recorded = _NOT_ITS_DOING if is_bounded else outcome
            self._fleet.record(attempt, recorded, self._latency_s)
        finally:
            context.record.stream_ended(attempt.instance, outcome, stream.received_bytes, now - attempt.began)
            if context.idle is not None:
                context.check_idle()
        if outcome is ANSWERED:
            return None
        attempts = (*self.history, AttemptResult(attempt.instance, outcome, now - attempt.began))
        return StreamBroken(
            f"the stream of {attempt.instance.address} broke after {stream.received_bytes} bytes: {outcome}",
            attempts,
            received_bytes=stream.received_bytes,
        )


class _Nowhere:
    """A source without a connection, for a body that has arrived completely."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abandon(self) -> None: ...


def _ignore(_: Any) -> None: ...


def _no_error(_: Any, __: Outcome) -> None: ...
