"""Calls whose responses are read while they arrive, and those that have no body.

Attempts, retries and hedges are those of every call, until the head of a success is complete. From then on the caller
has the response, and nothing is sent again: what it has read cannot be taken back. What breaks later is `StreamBroken`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from eas_tw.errors import StreamBroken
from eas_tw.net.call import Call
from eas_tw.net.http1 import NoBody
from eas_tw.net.stream import ResponseStream
from eas_tw.policy.outcomes import ANSWERED, SUCCESSES, AttemptResult, AttemptStatus, Outcome

if TYPE_CHECKING:
    from eas_tw.net.attempt import Attempt, WireRequest
    from eas_tw.net.call import CallContext
    from eas_tw.net.fleet import Fleet
    from eas_tw.net.stream import Source

_NOT_ITS_DOING = Outcome(AttemptStatus.CANCELLED)


class BodilessCall(Call):
    """A HEAD: every response ends with its head (RFC 9110 §9.3.2)."""

    __slots__ = ()

    def on_head(self, attempt: Attempt, connection: Source, status: int, head: bytes) -> type[NoBody]:  # noqa: ARG002
        """The response has no body, whatever it announces."""
        return NoBody


@frozen
class Limits:
    """Bounds on a stream, see `net.stream.StreamLimits`."""

    buffer_bytes: int
    idle_timeout_s: float | None
    total_timeout_s: float | None


class StreamCall(Call):
    """A call that ends when the head of a success has come; `done` fires with the `ResponseStream`.

    Args:
        context: As for every call.
        fleet: As for every call.
        request: As for every call.
        limits: Bounds on the stream.
        timeout_s: Until the head.
        is_idempotent: As for every call.
    """

    __slots__ = ("limits",)

    def __init__(
        self,
        context: CallContext,
        fleet: Fleet,
        request: WireRequest,
        limits: Limits,
        timeout_s: float,
        *,
        is_idempotent: bool,
    ) -> None:
        super().__init__(context, fleet, request, _NoReader(), timeout_s, is_idempotent=is_idempotent)
        self.limits = limits

    def on_head(self, attempt: Attempt, connection: Source, status: int, head: bytes) -> ResponseStream | None:
        """Take the body as it comes if this is the answer; others are collected, and perhaps tried elsewhere."""
        if status not in SUCCESSES or attempt not in self._attempts:
            return None
        began, ended = partial(self._opened, attempt), partial(self._ended, attempt)
        return ResponseStream(self._context.reactor, connection, status, head, self.limits, on_open=began, on_end=ended)

    def whole(self, status: int, head: bytes, body: bytes) -> ResponseStream:
        """A stream of a response that has been collected, because it was no success."""
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
        try:
            self._fleet.began_to_answer(attempt)
            context.record.stream_began()
            self._win(attempt)
            if self._is_over:
                stream.close()
            else:
                self._end(stream, "", attempt.instance)
        except BaseException as error:  # noqa: BLE001  see `call`
            stream.close()
            self._break_off(error)

    def _ended(self, attempt: Attempt, stream: ResponseStream, outcome: Outcome) -> Exception | None:
        """Record how the stream ended, which is how its attempt ended; the error of its reader."""
        context = self._context
        now = context.seconds()
        try:
            context.streams.pop(stream, None)
            if outcome.attempt_status is AttemptStatus.DEADLINE:
                # A bound of the caller's on a stream that flowed.
                self._fleet.record(attempt.instance, _NOT_ITS_DOING, attempt.began)
            else:
                self._fleet.record(attempt.instance, outcome, attempt.began)
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


class _NoReader:
    """In the place of the reader until there is one."""

    takes_any_status = False

    def read(self, head: bytes, body: bytes) -> Any:
        raise NotImplementedError

    def error_body(self, head: bytes, body: bytes) -> bytes:
        raise NotImplementedError


class _Nowhere:
    """The source of a body that is there already."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abandon(self) -> None: ...


def _ignore(_: Any) -> None: ...


def _no_error(_: Any, __: Outcome) -> None: ...
