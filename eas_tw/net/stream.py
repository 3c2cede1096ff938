"""Streaming of a response's body to a reader while it arrives.

The connection adds pieces, and the reader takes them. While too many bytes are unread, the transport is paused, so that
a slow reader slows down the instance and does not fill this process's memory. A stream ends exactly once: at the end of
the body, when its reader closes it, or when the connection is lost. `on_end` then records the outcome for the instance,
and lets a closing client continue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from eas_tw.net.pieces import add_piece, joined
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome
from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.net.pieces import Pieces
    from eas_tw.net.pool import Reactor


class PieceReader(Protocol):
    """Waits for one piece of the body; one of the two methods is called once. `Deferred` implements this interface."""

    def callback(self, result: bytes, /) -> None:
        """Receive a piece; `b""` at the end of the body."""

    def errback(self, fail: Failure, /) -> None:
        """Receive the error of a stream that failed."""


class Source(Protocol):
    """Delivers the pieces; implemented by a connection, and by the body of an agent's response."""

    def pause(self) -> None:
        """Stop reading from the socket until `resume`."""

    def resume(self) -> None:
        """Continue reading from the socket."""

    def abandon(self) -> None:
        """Close the connection immediately, without reading the rest of the body."""


class _CoroutineReader(Deferred[bytes]):
    """A reusable Deferred that a coroutine awaits for each piece.

    A new Deferred for each piece, with its list of callbacks, takes a third of the CPU time of an event. Twisted adds
    exactly one callback to the awaited object of a coroutine (`_inlineCallbacks`), and this class calls that
    callback directly. The object is not returned to callers, because they could add more callbacks.

    Args:
        canceller: A function that is called with the reader when the coroutine is cancelled while it waits.
    """

    _resume: tuple[Callable[..., Any], tuple[Any, ...]] | None = None

    def __await__(self) -> Generator[Any, Any, bytes]:
        piece: bytes = yield self
        return piece

    def addBoth(self, callback: Callable[..., Any], *args: Any, **_: Any) -> Any:  # noqa: N802  Twisted's name
        """Store the callback that resumes the coroutine (`Deferred`)."""
        self._resume = (callback, args)
        return self

    def callback(self, result: Any) -> None:
        """Resume the coroutine with a piece (`Deferred`)."""
        resume, self._resume = self._resume, None
        self.called = True
        if resume is not None:
            callback, args = resume
            callback(result, *args)

    def errback(self, fail: Any = None) -> None:
        """Resume the coroutine with an error (`Deferred`)."""
        self.callback(fail)


@frozen
class StreamLimits:
    """The bounds of a stream.

    Attributes:
        buffer_bytes: Unread bytes above which the transport is paused.
        idle_timeout_s: The maximum time between two pieces, in seconds; `None` for no bound.
        total_timeout_s: The maximum time from the head to the end, in seconds; `None` for no bound.
    """

    buffer_bytes: int
    idle_timeout_s: float | None
    total_timeout_s: float | None


class ResponseStream:
    """The body of one response, read piece by piece.

    Args:
        reactor: The reactor, for the time and for timers.
        source: The object that delivers the pieces.
        status: The response's status.
        head: The response's status line and fields, each ended by CRLF.
        limits: The bounds on memory and time.
        on_open: A function that is called when the stream may be passed to the caller.
        on_end: A function that is called once with the outcome, which is `ANSWERED` for a complete body. It returns the
            error for the reader, or `None` for a complete body.

    Attributes:
        received_bytes: Bytes of the body that have arrived.
        outcome: How the stream ended; `None` while it runs.
    """

    def __init__(
        self,
        reactor: Reactor,
        source: Source,
        status: int,
        head: bytes,
        limits: StreamLimits,
        *,
        on_open: Callable[[ResponseStream], None],
        on_end: Callable[[ResponseStream, Outcome], Exception | None],
    ) -> None:
        self.status = status
        self.head = head
        self.received_bytes = 0
        self.outcome: Outcome | None = None
        self._reactor = reactor
        self._source: Source | None = source
        self._limits = limits
        self._on_open = on_open
        self._on_end = on_end
        self._pieces: Pieces = []
        self._unread = 0
        self._is_paused = False
        self._error: Exception | None = None
        self._reader: PieceReader | None = None
        self._coroutine_reader: _CoroutineReader | None = None
        self._heard_at = reactor.seconds()
        self._idle_timer: IDelayedCall | None = None
        self._total_timer: IDelayedCall | None = None
        self._grace_timer: IDelayedCall | None = None

    # -- reports of the source

    def open(self) -> None:
        """Start the timers, and pass the stream to the caller; not called inside the parser."""
        limits = self._limits
        if limits.idle_timeout_s is not None:
            self._idle_timer = self._reactor.callLater(limits.idle_timeout_s, self._check_idle)
        if limits.total_timeout_s is not None:
            self._total_timer = self._reactor.callLater(
                limits.total_timeout_s,
                self.fail_by,
                AttemptStatus.DEADLINE,
                f"its total_timeout_s of {limits.total_timeout_s:g} s passed",
            )
        self._on_open(self)

    def feed(self, piece: bytes) -> None:
        """Receive a piece of the body."""
        if self.outcome is not None:
            return
        self._heard_at = self._reactor.seconds()
        self.received_bytes += len(piece)
        if self._grace_timer is not None:
            self.close()  # another byte has arrived before the end of the body
            return
        reader = self._reader
        if reader is not None:
            self._reader = None
            reader.callback(piece)
            return
        pieces = self._pieces
        add_piece(pieces, piece) if pieces else pieces.append(piece)
        self._unread += len(piece)
        if self._unread > self._limits.buffer_bytes and not self._is_paused and self._source is not None:
            self._is_paused = True
            self._source.pause()

    def finished(self) -> None:
        """End the stream with a complete body."""
        self._end(ANSWERED)

    def broke(self, outcome: Outcome) -> None:
        """End the stream with an incomplete body."""
        self._end(outcome)

    # -- called by the reader

    def take(self) -> bytes | None:
        """Return the unread bytes, without waiting.

        Returns:
            1. At least one byte, if any are unread.
            2. `b""` at the end of the body.
            3. `None` if no byte is unread and the stream has not ended.

        Raises:
            StreamBroken: The stream has failed.
            RuntimeError: Another read is waiting.
        """
        if self._reader is not None:
            raise RuntimeError("a stream is read by one reader at a time")
        pieces = self._pieces
        if pieces:
            first = pieces[0]
            data = first if len(pieces) == 1 and type(first) is bytes else joined(pieces)
            pieces.clear()
            self._unread = 0
            if self._is_paused:
                self._resume()
            return data
        if self.outcome is None:
            return None
        if self._error is not None:
            raise self._error
        return b""

    def wait_for_piece(self, reader: PieceReader) -> None:
        """Call `reader` with the next piece or the end of the stream; only after `take` has returned `None`."""
        self._reader = reader

    def read_piece(self) -> Deferred[bytes]:
        """Return the unread bytes, or wait for the next piece.

        Returns:
            A Deferred that

            1. fires with at least one byte, as soon as there is one;
            2. fires with `b""` at the end of the body;
            3. fails with `StreamBroken`, if the stream has failed.

        Raises:
            RuntimeError: Another read is waiting.
        """
        if self._error is not None and not self._pieces:
            return fail(self._error)
        piece = self.take()
        if piece is not None:
            return succeed(piece)
        reader: Deferred[bytes] = Deferred(self._reader_cancelled)
        self._reader = reader
        return reader

    def next_piece(self) -> Awaitable[bytes]:
        """Wait in a Twisted coroutine for the next piece; only after `take` has returned `None`."""
        reader = self._coroutine_reader
        if reader is None:
            reader = self._coroutine_reader = _CoroutineReader(self._reader_cancelled)
        reader.called = False
        self._reader = reader
        return reader

    def next_turn(self) -> Deferred[None]:
        """Return a Deferred that fires in the reactor's next turn, for a reader that has worked long in this turn."""
        turn: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._reactor.callLater(0, turn.callback, None)
        return turn

    def close(self, grace_s: float = 0.0) -> None:
        """Stop reading; close the connection, unless the body ends within `grace_s` seconds without another byte."""
        has_unread = bool(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if grace_s > 0 and not has_unread and self.outcome is None and self._grace_timer is None:
            self._grace_timer = self._reactor.callLater(grace_s, self.close)
            return
        if self.outcome is None:
            self.fail_by(AttemptStatus.CANCELLED, "the stream was closed")

    def fail_by(self, attempt_status: AttemptStatus, detail: str) -> None:
        """End the stream for a reason in this process, such as a timeout, and close the connection."""
        source = self._source
        if self.outcome is None and source is not None:
            self._end(Outcome(attempt_status, detail=detail))
            source.abandon()

    # -- internals

    def _reader_cancelled(self, reader: Deferred[bytes]) -> None:
        # A cancelled read closes the stream, so that a cancelled coroutine leaves no connection open.
        if self._reader is reader:
            self._reader = None
            self.close()

    def _resume(self) -> None:
        self._is_paused = False
        self._heard_at = self._reactor.seconds()
        if self._source is not None:
            self._source.resume()

    def _check_idle(self) -> None:
        """End a silent stream, or set the timer again, which costs less than setting it for each piece."""
        self._idle_timer = None
        idle_s = self._limits.idle_timeout_s
        if idle_s is None or self.outcome is not None:
            return
        now = self._reactor.seconds()
        # While a stream is paused, the time does not count as silence, because the client does not read.
        left_s = idle_s if self._is_paused else self._heard_at + idle_s - now
        if left_s <= 0:
            self.fail_by(AttemptStatus.UNRESPONSIVE, f"nothing came for {idle_s:g} s")
        else:
            self._idle_timer = self._reactor.callLater(left_s, self._check_idle)

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self._is_paused:
            self._resume()
        self._source = None
        for timer in (self._idle_timer, self._total_timer, self._grace_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._idle_timer = self._total_timer = self._grace_timer = None
        try:
            self._error = self._on_end(self, outcome)
        except BaseException:  # noqa: BLE001  the reader must get the end, even if a listener raises
            contain(self._reactor.callLater, "the end of a stream could not be recorded")
        reader, self._reader = self._reader, None
        self._coroutine_reader = None  # breaks a reference cycle
        if reader is not None:
            if self._error is not None:
                reader.errback(Failure(self._error))
            else:
                reader.callback(b"")
