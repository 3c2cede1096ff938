"""Streams of one client, in addition to its calls, with readers that are fast or slow, leave early, close or cancel.

Some streams are replaced by ordinary calls whose response the instance sends in pieces. These calls test that a client
does not treat an instance as late while the instance keeps sending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred

from simulator.virtual.checkers.calls import ObservedCall
from simulator.virtual.checkers.streams import BROKEN_BY_INSTANCE, ObservedStream, broken_as
from simulator.virtual.faults.catalog import LONG_LISTS
from simulator.virtual.stream_service import MAX_BYTES, StreamSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from random import Random

    from twisted.python.failure import Failure

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.virtual_time import Scheduler
    from simulator.virtual.oracle import Oracle
    from simulator.virtual.plan import RunPlan

_FORMS = ("chunked",) * 5 + ("length",) * 4 + ("events",) * 4 + ("gzip",) * 4 + ("empty",)
_SIZES = (0, 1, 30, *(500,) * 4, *(3_000,) * 4, 30_000, 30_000, 400_000)
_METHODS = ("POST",) * 6 + ("GET",) * 4 + ("PUT", "HEAD")
_READERS = ("plain",) * 6 + ("whole", "slow", "slow", "stop", "close", "cancel", "forget", "pieces", "lines")
_MOST_PIECES = 30
_SINGLE_BYTES, _TINY = 0.02, 0.008
"""Share of streams in pieces of one byte, and the part of this share with thousands of chunks in one segment."""
_MOST_BYTES = 500
_SLICING, _MOST_SLICED = ("slices", "segments", "trickle"), 3_000
_LONGEST_MS = 1500
_LONGEST_PAUSE_MS = 400
_WHOLE_SHARE = 0.3
_FORGOTTEN_S = 2.0
_DRAINED_MS, _HEAD_MS = (200, 4_000), 10
_SUCCESSES = range(200, 300)
_QUICK = 0.1
_ANY_STATUS = 0.1


@frozen
class _Draws:
    """The random choices for one stream.

    Attributes:
        method: The HTTP method.
        reader: One of `_READERS`.
        is_any: Whether a response of any status opens the stream.
        after_bytes: Number of bytes after which the reader `stop` leaves.
        after_s: Time after which the reader `close` closes or `cancel` cancels, in seconds.
        pause_s: Pause of a slow reader between two pieces, in seconds.
    """

    method: str
    reader: str
    is_any: bool
    after_bytes: int
    after_s: float
    pause_s: float


class StreamTraffic:
    """The streams of one client.

    Attributes:
        failed: Number of streams that were not opened, or that their instance broke.
    """

    def __init__(self, sut: ClientUnderTest, plan: RunPlan, oracle: Oracle, scheduler: Scheduler) -> None:
        self._sut = sut
        self._plan = plan
        self._oracle = oracle
        self._scheduler = scheduler
        self._rng: Random = scheduler.stream(f"streams/{sut.number}")
        self._next: Any = None
        self._opening: dict[ObservedCall, Deferred[Any]] = {}
        # A stream occupies a connection and a worker for a long time. With more streams, calls would have to wait.
        is_alone = plan.clients == 1 and plan.services == 1
        self._is_sole = sut.max_connections == 1
        self._most = 1 if self._is_sole else 3 if is_alone else 2
        # Thousands of chunks in one segment are more work in a turn than `work-per-turn` permits.
        self._is_metered = any(step.kind in LONG_LISTS for step in plan.steps)
        # Faults that split a large body into pieces of a few bytes would use much CPU time and test nothing more.
        self._most_bytes = _MOST_SLICED if any(step.kind in _SLICING for step in plan.steps) else MAX_BYTES
        self.failed = 0

    @property
    def is_opening(self) -> bool:
        """Whether a stream has no head yet."""
        return bool(self._opening)

    def start(self) -> None:
        """Start the streams."""
        if self._plan.streams_per_s:
            self._next = self._sut.reactor.callLater(self._rng.random() / self._plan.streams_per_s, self._again)

    def slow_down(self) -> None:
        """Stop if the client has only one connection to each instance; its calls would wait for the end of a stream."""
        if self._is_sole:
            self.stop()

    def stop(self) -> None:
        """Start no more streams."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def cancel_all(self) -> None:
        """Cancel every stream that has no head yet."""
        for call, opening in list(self._opening.items()):
            self._cancel(call, opening)

    def begin_long_ones(self) -> None:
        """Begin two streams that run while the client closes, one of 0.2 s and one of 4 s."""
        for length_ms in _DRAINED_MS:
            spec = StreamSpec("chunked", 200, 10, length_ms // 20, _HEAD_MS)
            self._stream(spec, _Draws("POST", "plain", False, 0, 0.0, 0.0), None)

    # -- drawing

    def _again(self) -> None:
        rng, per_s = self._rng, self._plan.streams_per_s
        self._next = self._sut.reactor.callLater((0.5 + rng.random()) / per_s, self._again)
        if rng.random() < _WHOLE_SHARE:
            self._whole(rng)
            return
        draws = _Draws(
            rng.choice(_METHODS),
            rng.choice(_READERS),
            rng.random() < _ANY_STATUS,
            rng.choice((1, 100, 3000)),
            rng.uniform(0.0, 1.0),
            rng.choice((0.02, 0.1, 0.3)),
        )
        total_s = rng.choice((None, None, None, 0.3, 1.0, 5.0))
        spec = self._spec(rng)
        if self._sut.open_streams < self._most:
            self._stream(spec, draws, total_s)

    def _spec(self, rng: Random) -> StreamSpec:
        form, size = rng.choice(_FORMS), min(rng.choice(_SIZES), self._most_bytes)
        pieces = rng.choice((1, 3, 3, 10, _MOST_PIECES))
        seldom = rng.random()
        if seldom < _SINGLE_BYTES and not self._is_metered:
            form, pieces = ("tiny", 1) if seldom < _TINY else (form, min(size, _MOST_BYTES))
        piece = max(1, -(-size // max(1, pieces)))
        is_long = pieces <= _MOST_PIECES and form != "tiny" and rng.random() < 0.5  # noqa: PLR2004  a half
        pause_ms = min(_LONGEST_PAUSE_MS, rng.randint(0, _LONGEST_MS) // max(1, pieces)) if is_long else 0
        head_ms = rng.choice((0, 0, 0, 20, 200)) if form not in ("empty", "tiny") else 0
        return StreamSpec(form, size, piece, pause_ms, head_ms)

    def _whole(self, rng: Random) -> None:
        """Make a call whose response arrives in pieces during 10 % to 75 % of the call's time."""
        sut = self._sut
        longest_s = min(sut.timeout_s, sut.attempt_timeout_s or sut.timeout_s)
        length_ms, pieces = round(1000 * longest_s * rng.uniform(_QUICK, 0.75)), rng.choice((8, 20))
        spec = StreamSpec(rng.choice(("chunked", "length")), 10 * pieces, 12, length_ms // pieces)
        method = rng.choice(("predict", "POST", "GET"))
        if self._sut.open_streams >= self._most:
            return
        call, watched = self._begin(spec, may_have_body=method != "GET")
        call.takes_s = length_ms / 1000
        watched.takes_any_status = method != "predict"
        self._sut.stream_began()
        try:
            if method == "predict":
                calling = sut.client.predict(spec.body_of(call.name), idempotent=not call.is_once)
            else:
                calling = sut.client.request(method, idempotent=not call.is_once, **_wire(spec, call.name, method))
        except BaseException as error:  # noqa: BLE001  injected errors may be raised directly
            self._not_opened(error, call, watched)
            return
        self._opening[call] = calling
        calling.addCallbacks(self._answered, self._failed, callbackArgs=(call, watched), errbackArgs=(call, watched))

    # -- streams

    def _begin(self, spec: StreamSpec, *, may_have_body: bool = True) -> tuple[ObservedCall, ObservedStream]:
        sut = self._sut
        sut.calls += 1
        name = f"{sut.number}.{sut.calls}"
        body = spec.body_of(name) if may_have_body else ""
        call = ObservedCall(sut, sut.calls, name, body, self._scheduler.elapsed(), sut.timeout_s)
        call.is_once = bool(self._plan.once) and self._rng.random() < self._plan.once
        watched = ObservedStream(call, spec)
        self._oracle.calls.begin(call)
        self._oracle.streams.begin(watched)
        self._oracle.retries.call_began(sut)
        return call, watched

    def _stream(self, spec: StreamSpec, draws: _Draws, total_s: float | None) -> None:
        call, watched = self._begin(spec, may_have_body=draws.method not in ("GET", "HEAD"))
        watched.total_s = total_s
        watched.has_body = draws.method != "HEAD"
        watched.takes_any_status = draws.is_any
        watched.idle_s = self._sut.stream_idle_timeout_s
        self._sut.stream_began()
        wire = _wire(spec, call.name, draws.method)
        if "body" in wire:
            wire["request"] = wire.pop("body")
        try:
            opening = self._sut.client.stream(
                method=draws.method,
                total_timeout_s=total_s,
                idempotent=not call.is_once,
                any_status=draws.is_any,
                **wire,
            ).open()
        except BaseException as error:  # noqa: BLE001  injected errors may be raised directly
            self._not_opened(error, call, watched)
            return
        self._opening[call] = opening
        if draws.reader == "cancel":
            self._sut.reactor.callLater(draws.after_s / 10, self._cancel, call, opening)
        opening.addCallbacks(
            self._opened, self._failed, callbackArgs=(call, watched, draws), errbackArgs=(call, watched)
        )

    def _cancel(self, call: ObservedCall, opening: Deferred[Any]) -> None:
        if call.name in self._oracle.calls.in_flight and not call.is_cancelled:
            self._oracle.calls.cancelled(call)
            opening.cancel()

    def _opened(self, stream: Any, call: ObservedCall, watched: ObservedStream, draws: _Draws) -> None:
        self._opening.pop(call, None)
        self._oracle.calls.opened(call)
        if stream.status not in _SUCCESSES:
            stream.close()
            self._refused(stream.status, watched)
            return
        self._oracle.streams.opened(watched, stream)
        reading = Deferred.fromCoroutine(self._read(stream, watched, draws))
        reading.addCallbacks(self._ended, self._broke, callbackArgs=(watched,), errbackArgs=(watched,))
        if draws.reader == "close":
            self._sut.reactor.callLater(draws.after_s, self._close, stream, watched)
        elif draws.reader == "cancel":
            self._sut.reactor.callLater(draws.after_s, self._cancel_reading, reading, watched)

    def _failed(self, failure: Failure, call: ObservedCall, watched: ObservedStream) -> None:
        self._not_opened(failure.value or AssertionError("a failure without an error"), call, watched)

    def _not_opened(self, error: BaseException, call: ObservedCall, watched: ObservedStream) -> None:
        self._opening.pop(call, None)
        self._sut.stream_ended()
        self.failed += not call.is_cancelled
        self._oracle.read(f"{error} {error!r}")
        self._scheduler.log(f"call {call.name} for {watched.spec} {self._oracle.calls.failed(call, error)}")
        self._oracle.streams.forget(watched)

    def _answered(self, response: Any, call: ObservedCall, watched: ObservedStream) -> None:
        self._opening.pop(call, None)
        self._oracle.calls.opened(call)
        if getattr(response, "status", _SUCCESSES[0]) not in _SUCCESSES:
            self._refused(response.status, watched)
            return
        self._sut.stream_ended()
        self._oracle.streams.whole_response(watched, response.content)
        spent_ms = (self._scheduler.elapsed() - call.began_s) * 1000
        self._scheduler.log_often(call.number, "call %s for %s ok in %.1f ms", call.name, watched.spec, spent_ms)

    def _refused(self, status: int, watched: ObservedStream) -> None:
        self._sut.stream_ended()
        self.failed += 1
        streams, name = self._oracle.streams, watched.call.name
        self._scheduler.log(f"call {name} for {watched.spec} got the status {status}")
        if not streams.explains_status(watched, status):
            self._oracle.report("failure-explained", f"call {name}: nothing explains the status {status}")
        streams.forget(watched)

    # -- readers

    async def _read(self, stream: Any, watched: ObservedStream, draws: _Draws) -> bool:
        """Read a stream; return whether it was read to its end."""
        streams = self._oracle.streams
        async with stream:
            if draws.reader == "forget":
                await self._sleep(_FORGOTTEN_S)
                streams.closing(watched)
                return False
            if draws.reader == "whole" and watched.spec.form != "events":
                streams.got(watched, await stream.read())
                return True
            is_slow = draws.reader == "slow"
            async for piece in self._pieces(stream, watched, draws):
                streams.got(watched, piece)
                if draws.reader == "stop" and watched.got_bytes >= draws.after_bytes:
                    streams.closing(watched)
                    return False
                if is_slow and len(watched.got) <= _MOST_PIECES:
                    await self._sleep(draws.pause_s)
                    streams.reading(watched)
        return True

    async def _pieces(self, stream: Any, watched: ObservedStream, draws: _Draws) -> AsyncIterator[bytes]:
        form = watched.spec.form
        if form == "events":
            async for event in stream.events():
                yield event.data.encode()
        elif draws.reader == "lines":
            async for line in stream.lines():
                yield line.encode()
        elif draws.reader == "pieces" and form != "gzip":
            while piece := await stream.next_piece():
                yield piece
        else:
            async for piece in stream:
                yield piece

    def _sleep(self, seconds: float) -> Deferred[None]:
        slept: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._sut.reactor.callLater(seconds, slept.callback, None)
        return slept

    def _close(self, stream: Any, watched: ObservedStream) -> None:
        if watched.call.name in self._oracle.streams.streams:
            self._oracle.streams.closing(watched)
            stream.close()

    def _cancel_reading(self, reading: Deferred[Any], watched: ObservedStream) -> None:
        if watched.call.name in self._oracle.streams.streams:
            self._oracle.streams.closing(watched)
            reading.cancel()

    # -- the ends

    def _ended(self, is_whole: bool, watched: ObservedStream) -> None:  # noqa: FBT001  a Deferred's result
        self._sut.stream_ended()
        streams = self._oracle.streams
        took_s = self._scheduler.elapsed() - watched.call.began_s
        how = "whole" if is_whole else "left"
        self._scheduler.log(
            f"stream {watched.call.name} for {watched.spec} {how} after {watched.got_bytes} bytes and {took_s:.3f} s"
        )
        # If the stream was closed meanwhile, its reader still gets the buffered pieces, and then an end or an error.
        (streams.read_whole if is_whole else streams.left)(watched)
        self._check_closed(watched)

    def _broke(self, failure: Failure, watched: ObservedStream) -> None:
        self._sut.stream_ended()
        error = failure.value or AssertionError("a failure without an error")
        self._oracle.read(f"{error} {error!r}")
        self.failed += broken_as(error) in BROKEN_BY_INSTANCE
        self._scheduler.log(f"stream {watched.call.name} for {watched.spec} {type(error).__name__}: {error}")
        if watched.is_closing and type(error).__name__ in ("CancelledError", "StreamBroken"):
            self._oracle.streams.left(watched)
        else:
            self._oracle.streams.broke(watched, error)
        self._check_closed(watched)

    def _check_closed(self, watched: ObservedStream) -> None:
        streams = self._oracle.streams
        if watched.has_body and not self._sut.is_whole(watched.stream):
            self._scheduler.call_later(streams.closes_within_s, self._check_gone, watched)

    def _check_gone(self, watched: ObservedStream) -> None:
        reactor = self._sut.reactor
        if reactor.stalled_until_ns > self._scheduler.now_ns:
            self._scheduler.at(reactor.stalled_until_ns + 1000, self._check_gone, watched)
        else:
            self._oracle.streams.check_closed(watched)


def _wire(spec: StreamSpec, call: str, method: str) -> dict[str, Any]:
    """Return the arguments of a request for a stream: a query for GET and HEAD, otherwise a body."""
    if method in ("GET", "HEAD"):
        return {"query": spec.query_of(call)}
    return {"body": spec.body_of(call)}
