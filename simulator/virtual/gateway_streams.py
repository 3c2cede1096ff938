"""Streams of the program that calls through the gateway.

These properties are checked:

1. A reader gets a prefix of the body that one instance has sent for this request, and the whole body if it reads the
   stream to its end.
2. A stream ends once and in time, and breaks only if a fault explains the break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred

from simulator.virtual.checkers.streams import broken_as
from simulator.virtual.stream_service import StreamSpec, content

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from twisted.python.failure import Failure

    from simulator.virtual.faults.agents import MisbehavingAgent
    from simulator.virtual.faults.attribution import FaultAttribution
    from simulator.virtual.network.virtual_time import Scheduler

    Report = Callable[[str, str], None]

_SHARE = 0.3
"""Share of the program's calls that are streams."""
_FORMS = ("chunked", "chunked", "length", "events", "gzip")
_SIZES = (1, 500, 3_000, 30_000, 100_000)
_PIECES = (1, 3, 10)
_READERS = ("plain", "plain", "plain", "slow", "stop", "cancel")
_TOTAL_S = (1.0, 5.0)
_LONGEST_CANCEL_S = 0.5
_SLOW_S = 0.05
_SLACK_S = 0.01


@define(eq=False)
class _Stream:
    """A stream from the start of its call to its end.

    Attributes:
        name: The name of its call.
        spec: The body that it requests.
        reader: One of `_READERS`.
        total_s: Its `total_timeout_s`, in seconds.
        began_s: When its call began, in virtual seconds.
        sent: Instance id and serial number of each response to it.
        opened_s: When its head was passed to the program, in virtual seconds; 0.0 before.
        got: The bytes that the reader got.
        is_cancelled: Whether the program has cancelled the reader.
    """

    name: str
    spec: StreamSpec
    reader: str
    total_s: float
    began_s: float
    sent: list[tuple[str, int]] = field(factory=list)
    opened_s: float = 0.0
    got: bytearray = field(factory=bytearray)
    is_cancelled: bool = False


class GatewayStreams:
    """Opens, reads and checks the streams.

    Args:
        client: The program's client.
        scheduler: Scheduler of the world.
        agent: The agent that sends the requests and may misbehave; `None` for none.
        attribution: Determines which failures the active faults explain.
        report: Called with the name of a checker and the description of a violation.
    """

    def __init__(
        self,
        client: Any,
        scheduler: Scheduler,
        *,
        agent: MisbehavingAgent | None,
        attribution: FaultAttribution,
        report: Report,
    ) -> None:
        self._agent = agent
        self._client = client
        self._scheduler = scheduler
        self._rng: Random = scheduler.stream("gateway streams")
        self._attribution = attribution
        self._report = report
        self._streams: dict[str, _Stream] = {}

    def is_next(self) -> bool:
        """Draw whether the next call is a stream."""
        return self._rng.random() < _SHARE

    def open(self, name: str, *, is_once: bool) -> Deferred[Any]:
        """Open a stream. The caller passes the result to `read`, or calls `forget` if the Deferred fails."""
        rng, size = self._rng, self._rng.choice(_SIZES)
        pieces = rng.choice(_PIECES)
        spec = StreamSpec(
            rng.choice(_FORMS), size, max(1, -(-size // pieces)), rng.choice((0, 0, 20, 100)), rng.choice((0, 0, 20))
        )
        drawn = _Stream(name, spec, rng.choice(_READERS), rng.choice(_TOTAL_S), self._scheduler.elapsed())
        self._streams[name] = drawn
        opening: Deferred[Any] = self._client.stream(
            spec.body_of(name), total_timeout_s=drawn.total_s, idempotent=not is_once
        ).open()
        return opening

    def sends(self, call: str, instance: str, serial: int) -> None:
        """Handle the start of a response at an instance."""
        drawn = self._streams.get(call)
        if drawn is not None:
            drawn.sent.append((instance, serial))

    def forget(self, name: str) -> None:
        """Handle a call that has ended without a stream."""
        self._streams.pop(name, None)

    def read(self, stream: Any, name: str) -> None:
        """Read an open stream, and check its end."""
        drawn = self._streams[name]
        drawn.opened_s = self._scheduler.elapsed()
        reading = Deferred.fromCoroutine(self._read(stream, drawn))
        if drawn.reader == "cancel":
            self._scheduler.call_later(self._rng.random() * _LONGEST_CANCEL_S, self._cancel, reading, drawn)
        reading.addCallbacks(self._ended, self._broke, callbackArgs=(drawn,), errbackArgs=(drawn,))

    def check_over(self) -> None:
        """Check that no stream is left when its client has closed."""
        for name in self._streams:
            self._report("gateway-stream", f"stream {name} has not ended, and its client has closed")

    # -- readers

    async def _read(self, stream: Any, drawn: _Stream) -> bool:
        """Read a stream; return whether it was read to its end."""
        async with stream:
            if drawn.spec.form == "events":
                async for event in stream.events():
                    drawn.got += event.data.encode()
                    if drawn.reader == "stop":
                        return False
                return True
            async for piece in stream:
                drawn.got += piece
                if drawn.reader == "stop":
                    return False
                if drawn.reader == "slow":
                    await self._sleep(_SLOW_S)
        return True

    def _sleep(self, seconds: float) -> Deferred[None]:
        slept: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._scheduler.call_later(seconds, slept.callback, None)
        return slept

    def _cancel(self, reading: Deferred[Any], drawn: _Stream) -> None:
        if drawn.name in self._streams:
            drawn.is_cancelled = True
            reading.cancel()

    # -- the ends

    def _ended(self, is_whole: bool, drawn: _Stream) -> None:  # noqa: FBT001  a Deferred's result
        self._end(drawn, "whole" if is_whole else "left")
        self._check_bytes(drawn, is_whole=is_whole)

    def _broke(self, failure: Failure, drawn: _Stream) -> None:
        error = failure.value
        name = type(error).__name__
        self._end(drawn, f"{name}: {error}")
        self._check_bytes(drawn, is_whole=False)
        now_s = self._scheduler.elapsed()
        if drawn.is_cancelled and name in ("CancelledError", "StreamBroken"):
            return
        if name == "BodyError" and self._attribution.may_be_wrong(drawn.began_s, now_s):
            return
        if name != "StreamBroken" or error is None:
            self._report("gateway-stream", f"stream {drawn.name} has ended as {name}: {error}")
            return
        status = broken_as(error)
        if status == "deadline":
            if now_s < drawn.opened_s + drawn.total_s - _SLACK_S:
                says = f"ran out of time {now_s - drawn.opened_s:.3f} s after its head"
                self._report("gateway-stream", f"stream {drawn.name} {says}")
        elif not (
            self._attribution.explain_gateway_break(status, (drawn.began_s, now_s))
            or self._attribution.may_be_wrong(drawn.began_s, now_s)
        ):
            self._report("gateway-stream", f"nothing explains that stream {drawn.name} broke: {error}")

    def _end(self, drawn: _Stream, how: str) -> None:
        now_s = self._scheduler.elapsed()
        self._scheduler.log(f"stream {drawn.name} for {drawn.spec} {how} after {len(drawn.got)} bytes")
        if self._streams.pop(drawn.name, None) is None:
            self._report("gateway-stream", f"stream {drawn.name} has ended twice")
        # A slow reader may reach the end of the body long after the last byte has arrived.
        if drawn.reader != "slow" and now_s > drawn.opened_s + drawn.total_s + _SLACK_S:
            says = f"ended {now_s - drawn.opened_s:.3f} s after its head, of at most {drawn.total_s:g}"
            self._report("gateway-stream", f"stream {drawn.name} {says}")

    def _check_bytes(self, drawn: _Stream, *, is_whole: bool) -> None:
        got = bytes(drawn.got)
        if self._agent is not None and self._agent.has_answered(drawn.spec.body_of(drawn.name).encode()):
            return
        bodies = [content(drawn.name, instance, serial, drawn.spec) for instance, serial in drawn.sent]
        is_right = got in bodies if is_whole else any(body.startswith(got) for body in bodies)
        if is_right or self._attribution.may_be_wrong(drawn.began_s, self._scheduler.elapsed()):
            return
        lengths = " or ".join(str(len(body)) for body in bodies) or "none"
        says = f"read {len(got)} bytes that are not {'all' if is_whole else 'the first'} of {lengths} sent"
        self._report("gateway-stream", f"stream {drawn.name} ({drawn.spec}) {says}")
