"""A response whose body is read while it arrives.

The connection adds pieces, and the reader takes them. While more than a bound is unread the transport is paused, so
that a slow reader slows the instance down instead of filling this process's memory. A stream ends once: at the end of
the body, when its reader closes it, or when the connection breaks. `on_end` does what follows for the pool, the health
record of the instance, and a client that is closing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome
from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall

    from eas_tw.net.pool import Reactor


class Source(Protocol):
    """Delivers the pieces: a connection, or the body of an agent's response."""

    def pause(self) -> None:
        """Stop reading from the socket until `resume`."""

    def resume(self) -> None:
        """Continue reading."""

    def abandon(self) -> None:
        """Close at once: the rest is not read."""


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
        reactor: Clock and timers.
        source: Delivers the pieces.
        status: The response's status.
        head: The response's status line and fields, each ended by CRLF.
        limits: Bounds on memory and time.
        on_open: Called when the stream may be handed to the caller.
        on_end: Called once with the outcome, `ANSWERED` for a complete body. Returns the error for the reader; `None`
            for the end of the body.

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
        self._pieces: list[bytes] = []
        self._unread = 0
        self._is_paused = False
        self._error: Exception | None = None
        self._reader: Deferred[bytes] | None = None
        self._heard_at = reactor.seconds()
        self._idle_timer: IDelayedCall | None = None
        self._total_timer: IDelayedCall | None = None
        self._grace_timer: IDelayedCall | None = None

    # -- reports of the source

    def open(self) -> None:
        """Start the timers and hand the stream to the caller; called outside the connection's parsing."""
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
            self.close()  # the body goes on
            return
        reader = self._reader
        if reader is not None:
            self._reader = None
            reader.callback(piece)
            return
        self._pieces.append(piece)
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

    def read_piece(self) -> Deferred[bytes]:
        """Take what has arrived.

        Returns:
            1. Fires with at least one byte, as soon as there is one.
            2. Fires with `b""` at the end of the body.
            3. Fails with `StreamBroken`.

        Raises:
            RuntimeError: Another read is waiting.
        """
        if self._reader is not None:
            raise RuntimeError("a stream is read by one reader at a time")
        if self._pieces:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._unread = 0
            if self._is_paused:
                self._resume()
            return succeed(data)
        if self.outcome is None:
            reader: Deferred[bytes] = Deferred(self._reader_cancelled)
            self._reader = reader
            return reader
        done: Deferred[bytes] = Deferred()
        if self._error is not None:
            done.errback(Failure(self._error))
        else:
            done.callback(b"")
        return done

    def close(self, grace_s: float = 0.0) -> None:
        """Stop reading; the connection is closed unless the body ends within `grace_s` seconds without another byte."""
        has_unread = bool(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if grace_s > 0 and not has_unread and self.outcome is None and self._grace_timer is None:
            self._grace_timer = self._reactor.callLater(grace_s, self.close)
            return
        self.fail_by(AttemptStatus.CANCELLED, "the stream was closed")

    def fail_by(self, attempt_status: AttemptStatus, detail: str) -> None:
        """End the stream for a reason on this side, and close the connection."""
        source = self._source
        if self.outcome is None and source is not None:
            self._end(Outcome(attempt_status, detail=detail))
            source.abandon()

    # -- internals

    def _reader_cancelled(self, reader: Deferred[bytes]) -> None:
        # A cancelled read closes the stream: a program that is cancelled should leave no connection open.
        if self._reader is reader:
            self._reader = None
            self.close()

    def _resume(self) -> None:
        self._is_paused = False
        self._heard_at = self._reactor.seconds()
        if self._source is not None:
            self._source.resume()

    def _check_idle(self) -> None:
        """End a silent stream; the timer is armed for the last piece here, which is cheaper than with each piece."""
        self._idle_timer = None
        idle_s = self._limits.idle_timeout_s
        if idle_s is None or self.outcome is not None:
            return
        now = self._reactor.seconds()
        # A paused stream is silent because its reader is slow.
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
        if reader is not None:
            if self._error is not None:
                reader.errback(Failure(self._error))
            else:
                reader.callback(b"")
