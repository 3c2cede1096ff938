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
from eas_tw.policy.outcomes import ANSWERED, SUCCESSES, Attempt, Condition, Outcome

if TYPE_CHECKING:
    from eas_tw.net.call import Calls
    from eas_tw.net.fleet import Fleet
    from eas_tw.net.leg import Leg, Request
    from eas_tw.net.stream import Source

_NOT_ITS_DOING = Outcome(Condition.CANCELLED)


class BodilessCall(Call):
    """A HEAD: every response ends with its head (RFC 9110 §9.3.2)."""

    __slots__ = ()

    def on_head(self, leg: Leg, connection: Source, status: int, head: bytes) -> type[NoBody]:  # noqa: ARG002
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
        calls: As for every call.
        fleet: As for every call.
        request: As for every call.
        limits: Bounds on the stream.
        timeout_s: Until the head.
        is_idempotent: As for every call.
    """

    __slots__ = ("limits",)

    def __init__(
        self,
        calls: Calls,
        fleet: Fleet,
        request: Request,
        limits: Limits,
        timeout_s: float,
        *,
        is_idempotent: bool,
    ) -> None:
        super().__init__(calls, fleet, request, _NoReader(), timeout_s, is_idempotent=is_idempotent)
        self.limits = limits

    def on_head(self, leg: Leg, connection: Source, status: int, head: bytes) -> ResponseStream | None:
        """Take the body as it comes if this is the answer; others are collected, and perhaps tried elsewhere."""
        if status not in SUCCESSES or leg not in self._legs:
            return None
        began, ended = partial(self._opened, leg), partial(self._ended, leg)
        return ResponseStream(self._calls.reactor, connection, status, head, self.limits, on_open=began, on_end=ended)

    def whole(self, status: int, head: bytes, body: bytes) -> ResponseStream:
        """A stream of a response that has been collected, because it was no success."""
        stream = ResponseStream(
            self._calls.reactor, _Nowhere(), status, head, self.limits, on_open=_ignore, on_end=_no_error
        )
        if body:
            stream.feed(body)
        stream.finished()
        return stream

    def _opened(self, leg: Leg, stream: ResponseStream) -> None:
        if leg not in self._legs:
            stream.close()
            return
        calls = self._calls
        calls.streams[stream] = None
        try:
            self._fleet.began_to_answer(leg)
            calls.record.stream_began()
            self._win(leg)
            if self._is_over:
                stream.close()
            else:
                self._end(stream, "", leg.instance)
        except BaseException as error:  # noqa: BLE001  see `call`
            stream.close()
            self._break_off(error)

    def _ended(self, leg: Leg, stream: ResponseStream, outcome: Outcome) -> Exception | None:
        """Record how the stream ended, which is how its attempt ended; the error of its reader."""
        calls = self._calls
        now = calls.seconds()
        try:
            calls.streams.pop(stream, None)
            if outcome.condition is Condition.DEADLINE:
                # A bound of the caller's on a stream that flowed.
                self._fleet.record(leg.instance, _NOT_ITS_DOING, leg.began)
            else:
                self._fleet.record(leg.instance, outcome, leg.began)
        finally:
            calls.record.stream_ended(leg.instance, outcome, stream.received_bytes, now - leg.began)
            if calls.idle is not None:
                calls.check_idle()
        if outcome is ANSWERED:
            return None
        attempts = (*self.history, Attempt(leg.instance, outcome, now - leg.began))
        return StreamBroken(
            f"the stream of {leg.instance.address} broke after {stream.received_bytes} bytes: {outcome}",
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
