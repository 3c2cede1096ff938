"""Responses whose body is produced while it is sent: the value that a handler returns, and the reader of its pieces.

The module has no I/O and no faults: `stream_sender` writes the pieces, and `stream_steps` changes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from simulator.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from random import Random

    from simulator.delivery import Ending, IdleEnd

_log = Logger(namespace="simulator.streaming")
_END = object()
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class StreamEnd(StrEnum):
    """The kind of end of a streamed response; the journal's field `stream`."""

    COMPLETE = "complete"
    """The whole body was sent."""
    CLIENT_CLOSED = "client_closed"
    """The client closed the connection before the end."""
    CUT = "cut"
    """A fault closed or reset the connection before the end."""
    FAILED = "failed"
    """The processor raised an exception after its first piece."""
    CRASHED = "crashed"
    """The instance crashed or was removed before the end."""


@frozen
class End:
    """An item that marks the end of a stream.

    Attributes:
        ending: Action on the connection; `None` for the regular end, after which the connection may stay open.
        after_s: Pause before the action, in seconds.
        is_failure: Whether the source of the body failed.
    """

    ending: Ending | None = None
    after_s: float = 0.0
    is_failure: bool = False


@frozen
class Raw:
    """Bytes that are sent unchanged, outside the framing of the body."""

    data: bytes


Item = tuple[float, bytes] | Raw | End
"""An item of a stream: a piece with the pause in seconds before it, raw bytes, or the end."""


class Step(Protocol):
    """Changes the pieces of one stream; it may keep state from one piece to the next."""

    def apply(self, items: Iterable[Item]) -> Iterator[Item]:
        """Return the items that replace the given items, in order."""


class Gate(Protocol):
    """Pauses a stream while its instance hangs."""

    @property
    def is_hung(self) -> bool:
        """Whether nothing may be sent now."""

    def when_running(self, act: Callable[[], None]) -> None:
        """Call `act` when sending is permitted again."""


class StreamObserver(Protocol):
    """Receives the progress of one stream."""

    def body_sent(self, data: bytes) -> None:
        """Called with each piece of the body that is sent."""

    def ended(self, end: StreamEnd) -> None:
        """Called once, when the stream is over."""


@frozen
class StreamPlan:
    """The delivery of a stream.

    Attributes:
        body_steps: Steps on the body's pieces before they are framed.
        own_steps: Steps of the stream's source, applied after `body_steps`. Unlike the steps of faults, they permit
            that available pieces are written together.
        wire_steps: Steps on the bytes of head and body.
        change_head: Changes the bytes of the head; `None` for no change.
        after_s: Seconds between the last byte and the close of the connection.
        idle_end: Close of the connection without notice while it is idle after the response; `None` for no such close.
        must_close: Called at the end; returns whether to close the connection although the head did not announce it.
            `None` for never.
        gate: Pauses the stream while its instance hangs; `None` for no pause.
        observer: Receives the progress of the stream; `None` for none.
    """

    body_steps: Sequence[Step] = ()
    own_steps: Sequence[Step] = ()
    wire_steps: Sequence[Step] = ()
    change_head: Callable[[bytes], bytes] | None = None
    after_s: float = 0.0
    idle_end: IdleEnd | None = None
    must_close: Callable[[], bool] | None = None
    gate: Gate | None = None
    observer: StreamObserver | None = None

    @property
    def is_batched(self) -> bool:
        """Whether available pieces are written together."""
        return not (self.body_steps or self.wire_steps)


@frozen(eq=False)
class StreamResponse:
    """A response whose body is sent piece by piece, as soon as each piece is available.

    The head is sent with the first piece; an empty first piece sends the head alone. An exception before the first
    piece becomes a 400; a later exception closes the connection.

    Attributes:
        body: An iterator or asynchronous iterator of pieces. A piece is bytes, text (sent as UTF-8), a `Later` or a
            Deferred of one of these. The iterator is closed (`close`, `aclose`) when the client disconnects.
        status: HTTP status, 200 to 599; 101 with `receive`.
        content_type: Content-Type of the body; empty for none.
        headers: Additional header fields.
        close: Whether to close the connection after the response.
        length: Size of the body in bytes, sent as Content-Length; `None` for a chunked body.
        receive: Called with the client's bytes after the upgrade of the connection to WebSocket; `None` for an HTTP
            response.
        plan: The delivery.
    """

    body: Any
    status: int = 200
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default=_NO_HEADERS)
    close: bool = False
    length: int | None = None
    receive: Callable[[bytes], None] | None = None
    plan: StreamPlan = field(factory=StreamPlan)

    def discard(self, end: StreamEnd = StreamEnd.CLIENT_CLOSED) -> None:
        """Close the source of a response that cannot be sent."""
        if isinstance(self.body, PieceReader):
            self.body.close()
        else:
            close_source(self.body)
        if self.plan.observer is not None:
            self.plan.observer.ended(end)


def is_stream(value: Any) -> bool:
    """Return whether a processor's result is a source of pieces."""
    return isinstance(value, Iterator | AsyncIterator) and not isinstance(value, bytes | str)


def map_pieces(body: Any, change: Callable[[Any], Any], finish: Callable[[], bytes] | None = None) -> Any:
    """Return a source whose pieces are `change(piece)`, followed by `finish()`.

    Args:
        body: An iterator or asynchronous iterator.
        change: Takes a piece as the iterator yields it, which may be a `Later` or a Deferred.
        finish: Returns the last piece; `None` for no further piece.
    """
    return _map_async(body, change, finish) if isinstance(body, AsyncIterator) else _map(body, change, finish)


def _map(body: Iterator[Any], change: Callable[[Any], Any], finish: Callable[[], bytes] | None) -> Iterator[Any]:
    try:
        for piece in body:
            yield change(piece)
        if finish is not None:
            yield finish()
    finally:
        close_source(body)


async def _map_async(
    body: AsyncIterator[Any], change: Callable[[Any], Any], finish: Callable[[], bytes] | None
) -> AsyncIterator[Any]:
    try:
        async for piece in body:
            yield change(piece)
        if finish is not None:
            yield finish()
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


def close_source(body: Any) -> None:
    """Close an iterator or asynchronous iterator, if it can be closed; an exception is logged."""
    close = getattr(body, "aclose", None)
    if close is not None:
        Deferred.fromCoroutine(close()).addErrback(lambda failure: _warn(failure.getErrorMessage()))
        return
    close = getattr(body, "close", None)
    if close is not None:
        try:
            close()
        except Exception as error:  # noqa: BLE001  the client has disconnected, so the error can only be logged
            _warn(str(error) or type(error).__name__)


def _warn(why: str) -> None:
    _log.warn("the source of a stream failed while it was closed: {why}", why=why)


class PieceReader:
    """Reads the pieces of a source, one at a time.

    Args:
        body: An iterator or asynchronous iterator.
        clock: Clock for delayed pieces.
        rng: Random source of the delays; `None` for a source without random delays.
    """

    def __init__(self, body: Any, clock: Any, rng: Random | None = None) -> None:
        self._body = body
        self._clock = clock
        self._rng: Any = rng
        self._is_async = isinstance(body, AsyncIterator)
        self._pending: Deferred[Any] | None = None
        self._unread: list[bytes] = []
        self._is_closed = False

    def unread(self, piece: bytes | None) -> None:
        """Put the first piece back, so that `read` returns it again; `None`, the end of the body, is ignored."""
        if piece is not None:
            self._unread.append(piece)

    def read(self) -> bytes | Deferred[bytes | None] | None:
        """Take the next piece.

        Returns:
            1. The piece.
            2. `None` at the end of the body.
            3. A Deferred of either, which fails with the exception of the source.

        Raises:
            Exception: The source raised the exception.
        """
        if self._unread:
            return self._unread.pop()
        if self._is_closed:
            return None
        found: Any
        found = Deferred.fromCoroutine(_next_async(self._body)) if self._is_async else next(self._body, _END)
        return self._settle(found)

    def close(self) -> None:
        """Stop reading and close the source."""
        if self._is_closed:
            return
        self._is_closed = True
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
            pending.addErrback(lambda failure: failure.trap(CancelledError) and None)
        close_source(self._body)

    def _settle(self, found: Any) -> bytes | Deferred[bytes | None] | None:
        while True:
            if isinstance(found, bytes):
                return found
            if found is _END:
                self._is_closed = True
                return None
            if isinstance(found, str):
                return found.encode()
            if isinstance(found, bytearray | memoryview):
                return bytes(found)
            if isinstance(found, Later):
                found = self._after(found)
            if not isinstance(found, Deferred):
                raise TypeError(f"a piece of a stream must be bytes or text, got {type(found).__name__}")
            if not found.called or found.paused:
                self._pending = found
                return found.addBoth(self._came)
            found = _result_of(found)

    def _came(self, found: Any) -> Any:
        self._pending = None
        return found if isinstance(found, Failure) else self._settle(found)

    def _after(self, later: Later) -> Deferred[Any]:
        due: Deferred[Any] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(later.seconds.draw(self._rng), due.callback, later.value)
        return due


def _result_of(done: Deferred[Any]) -> Any:
    results: list[Any] = []
    done.addBoth(results.append)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


async def _next_async(body: AsyncIterator[Any]) -> Any:
    try:
        return await body.__anext__()
    except StopAsyncIteration:
        return _END
