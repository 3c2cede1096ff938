"""The connections of a watch over plain HTTP, for services or proxies without WebSocket (`queue_watch="http"`).

The response is a stream of records: four bytes of length (big-endian), then the frame. As for other streams, the client
chooses the instance, retries until the head of the response has arrived, and records the end in the instance's health.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from eas_tw.errors import BodyError, EasError, RequestFailed, StatusError
from eas_tw.net.stream import StreamLimits
from eas_tw.net.stream_call import StreamCall
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome
from eas_tw.queue.connections import WatchEnd, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from eas_tw.config import ClientConfig
    from eas_tw.net.attempt import WireRequest
    from eas_tw.net.call import Reader
    from eas_tw.net.call_context import CallContext
    from eas_tw.net.fleet import Fleet
    from eas_tw.net.stream import ResponseStream
    from eas_tw.policy.instances import Instance
    from eas_tw.queue.connections import Key, WatchOwner

_LENGTH_BYTES = 4
_MOST_RECORDS = 500
"""Number of records after which the rest is handled in the next turn of the reactor, a few milliseconds of work."""


class RecordSplitter:
    """Splits a stream of bytes into records.

    Args:
        max_bytes: The maximum size of a record, in bytes, without its length.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pending = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Add a piece of the stream, and yield the records that it completes.

        Raises:
            BodyError: A record is too large.
        """
        self._pending += piece
        while len(self._pending) >= _LENGTH_BYTES:
            size = int.from_bytes(self._pending[:_LENGTH_BYTES], "big")
            if size > self._max_bytes:
                raise BodyError(f"a frame has {size} bytes, more than {self._max_bytes} (max_response_bytes)")
            end = _LENGTH_BYTES + size
            if len(self._pending) < end:
                return
            record = bytes(self._pending[_LENGTH_BYTES:end])
            del self._pending[:end]
            yield record

    @property
    def is_empty(self) -> bool:
        """Whether no part of a record is pending."""
        return not self._pending


class HttpConnector:
    """Opens the connections of one watch.

    Args:
        context: The client's call context.
        fleet: The fleet, which chooses the instances.
        reader: The reader, which makes a stream from a response.
        config: The client's settings.

    Attributes:
        lost_at: The key of the instance at which the last connection ended; empty if no connection has ended, or if its
            instance is unknown.
    """

    def __init__(self, context: CallContext, fleet: Fleet, reader: Reader, config: ClientConfig) -> None:
        self.context = context
        self.lost_at: tuple[Key, ...] = ()
        self._fleet = fleet
        self._reader = reader
        self.config = config

    def connect(self, request: WireRequest, owner: WatchOwner) -> HttpWatch:
        """Start a connection; the owner is not called before this method has returned."""
        return HttpWatch(self, request, owner)

    def call(self, request: WireRequest) -> StreamCall:
        """Make the call of a connection; it avoids the instance of the last connection, if another is available."""
        limits = StreamLimits(self.config.stream_buffer_bytes, None, None)
        timeout_s = self.config.timeout_s
        call = StreamCall(self.context, self._fleet, request, self._reader, limits, timeout_s, is_idempotent=True)
        if self._fleet.has_well(self.lost_at):  # the same instance is better than an ejected instance
            call.avoid(self.lost_at)
        return call


class HttpWatch:
    """A connection of a watch over plain HTTP (implements `WatchConnection`).

    Args:
        connector: The connector, which makes the call.
        request: The request that starts the watch.
        owner: The receiver of the reports.
    """

    def __init__(self, connector: HttpConnector, request: WireRequest, owner: WatchOwner) -> None:
        self._connector = connector
        self._owner: WatchOwner | None = owner
        self._gone: Callable[[], None] | None = owner.connection_gone
        self._splitter = RecordSplitter(connector.config.max_response_bytes)
        self._stream: ResponseStream | None = None
        self._instance: Instance | None = None
        self._is_paused = self._is_reading = False
        self._next_turn: IDelayedCall | None = None
        self._call = connector.call(request)
        self._running: Deferred[ResponseStream] | None = None
        # Start in the next reactor iteration, so that the owner is not called before this constructor has returned.
        self._starting = connector.context.reactor.callLater(0, self._start)

    def pause(self) -> None:
        """Stop reading from the stream; when its buffer is full, TCP flow control stops the instance."""
        self._is_paused = True

    def resume(self) -> None:
        """Continue reading."""
        if self._is_paused:
            self._is_paused = False
            self._read()

    def close(self) -> None:
        """Close the stream; the owner receives only `connection_gone`."""
        self._owner = None
        self._stop_next_turn()
        if self._starting.active():
            self._starting.cancel()
        elif self._stream is not None:
            self._stream.close()
        elif self._running is not None:
            self._running.cancel()
        self._tell_gone()

    abort = close

    def _start(self) -> None:
        self._running = self._call.start()
        self._running.addCallbacks(self._opened, self._failed)

    def _opened(self, stream: ResponseStream) -> None:
        self._running = None
        self._stream, self._instance = stream, self._call.answered_by
        if self._owner is None or self._instance is None:
            stream.close()
            return
        self._owner.connection_opened(self._instance)
        self._read()

    def _read(self) -> None:
        is_busy = self._is_paused or self._is_reading or self._next_turn is not None
        if self._stream is None or is_busy or self._owner is None:
            return
        self._is_reading = True
        self._stream.read_piece().addCallbacks(self._took, self._failed)

    def _took(self, piece: bytes) -> None:
        self._is_reading = False
        if not piece:
            if self._splitter.is_empty:
                self._end(WatchEnd(self._instance, ANSWERED, may_be_complete=True))
            else:
                broken = Outcome(AttemptStatus.RESPONSE_TRUNCATED, detail="the stream ended inside a frame")
                self._end(WatchEnd(self._instance, broken))
            return
        self._deliver(piece)

    def _deliver(self, piece: bytes = b"") -> None:
        """Pass the records of a piece to the owner; after `_MOST_RECORDS`, continue in the next turn of the reactor."""
        self._next_turn = None
        records: list[bytes] = []
        error: BodyError | None = None
        try:
            for record in islice(self._splitter.feed(piece), _MOST_RECORDS):
                records.append(record)  # noqa: PERF402  the iterator may raise after some records
        except BodyError as found:  # the records before the invalid one are complete, so they are delivered
            error = found
        if records and self._owner is not None and self._instance is not None:
            self._owner.connection_received(self._instance, records)
        if error is not None:
            self._end(WatchEnd(self._instance, Outcome(AttemptStatus.VIOLATION, detail=str(error)), error))
        elif len(records) == _MOST_RECORDS and self._owner is not None:
            self._next_turn = self._connector.context.reactor.callLater(0, self._deliver)
        else:
            self._read()

    def _failed(self, failure: Failure) -> None:
        self._running = None
        self._is_reading = False
        error = failure.value
        if isinstance(error, CancelledError) or not isinstance(error, EasError):
            self._end(WatchEnd(self._instance, Outcome(AttemptStatus.CANCELLED, detail=str(error))))
            return
        attempts = error.attempts if isinstance(error, RequestFailed) else ()
        outcome = attempts[-1].outcome if attempts else Outcome(AttemptStatus.LOST, detail=str(error))
        instance = attempts[-1].instance if attempts else self._instance
        body = error.body if isinstance(error, StatusError) else b""
        self._end(WatchEnd(instance, outcome, refusal(instance, outcome, body)))

    def _end(self, end: WatchEnd) -> None:
        self._connector.lost_at = () if end.instance is None else (end.instance.key,)
        owner, self._owner = self._owner, None
        self._stop_next_turn()
        if self._stream is not None:
            self._stream.close()
        if owner is not None:
            owner.connection_ended(end)
        self._tell_gone()

    def _stop_next_turn(self) -> None:
        timer, self._next_turn = self._next_turn, None
        if timer is not None:
            timer.cancel()

    def _tell_gone(self) -> None:
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()
