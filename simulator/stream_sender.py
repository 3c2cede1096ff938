"""The sender of a streamed response: sends each piece when it is available, no faster than the client reads."""

from __future__ import annotations

from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from twisted.logger import Logger
from zope.interface import implementer

from simulator.delivery import Ending
from simulator.messages import Framing, framing_of, render_head
from simulator.streaming import End, PieceReader, Raw, StreamEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from twisted.python.failure import Failure

    from simulator.messages import ReceivedRequest
    from simulator.streaming import Item, StreamResponse

_log = Logger(namespace="simulator.streaming")
MAX_BATCH_BYTES = 2**16
"""Available pieces are written together; no piece is added to a write that has at least this many bytes."""


@implementer(IPullProducer)
class StreamSender:
    """Sends one streamed response.

    It is a pull producer: the next piece is requested from the source when the transport has passed the previous piece
    to the kernel. A client that reads slowly therefore stops the source, and no ending discards unsent bytes.

    Args:
        clock: Clock for pauses.
        transport: Transport to write to.
        stream: Response to send.
        request: The answered request.
        keep: Whether the connection stays open after the response.
        done: Called with the end of the connection, unless the connection is lost before that.
    """

    def __init__(
        self,
        clock: Any,
        transport: Any,
        stream: StreamResponse,
        request: ReceivedRequest,
        *,
        keep: bool,
        done: Callable[[Ending], None],
    ) -> None:
        self._clock = clock
        self._transport = transport
        self._plan = stream.plan
        self._done = done
        self._framing = framing_of(stream, request)
        self._keep = keep and self._framing is not Framing.CLOSE
        self._unsent_bytes = stream.length or 0
        self._reader = stream.body if isinstance(stream.body, PieceReader) else PieceReader(stream.body, clock)
        head = render_head(stream, keep=self._keep, request=request)
        change = stream.plan.change_head
        self._items: Iterator[Item] = self._through_wire([(0.0, head if change is None else change(head))])
        self._batch = MAX_BATCH_BYTES if stream.plan.is_batched else 1
        self._timer: Any = None
        self._is_waiting = False
        self._is_writing = False
        self._is_going_on = False
        self._is_over = False
        self._has_ended = False
        self._is_whole = False

    def start(self) -> None:
        """Start sending."""
        if self._framing is Framing.NONE:
            self._items = chain(self._items, self._through_wire([End(after_s=self._plan.after_s)]))
            self._has_ended = True
        self._transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Send the next piece, because the transport's buffer is empty (`IPullProducer`)."""
        self._is_writing = False
        if not (self._is_over or self._is_waiting or self._timer is not None or self._is_going_on):
            self._go_on()

    def stopProducing(self) -> None:
        """Stop sending, because the connection is lost (`IProducer`)."""
        if not self._is_over:
            self._stop(StreamEnd.COMPLETE if self._is_whole else StreamEnd.CLIENT_CLOSED)

    # -- the next item

    def _go_on(self) -> None:
        self._is_going_on = True
        batch = bytearray()
        while len(batch) < self._batch:
            item = next(self._items, None)
            if item is None:
                self._read()
                if self._is_waiting:
                    break
                continue
            if isinstance(item, Raw):
                batch += item.data
                continue
            if batch and (isinstance(item, End) or item[0] > 0):
                self._items = chain([item], self._items)
                break
            if isinstance(item, End):
                self._is_going_on = False
                self._is_whole = item.ending is None
                self._after(item.after_s, self._end, item)
                return
            pause_s, data = item
            if pause_s > 0:
                self._is_going_on = False
                self._after(pause_s, self._write, data)
                return
            batch += data
        self._is_going_on = False
        if batch:
            self._write(bytes(batch))

    def _write(self, data: bytes) -> None:
        if self._is_over:
            return
        gate = self._plan.gate
        if gate is not None and gate.is_hung:
            self._is_waiting = True  # prevents other callbacks from sending meanwhile
            gate.when_running(lambda: self._open(data))
        elif data:
            self._is_writing = True
            self._transport.write(data)
        else:
            self._go_on()

    def _open(self, data: bytes) -> None:
        self._is_waiting = False
        self._write(data)

    def _after(self, pause_s: float, act: Callable[..., None], *arguments: Any) -> None:
        if pause_s <= 0:
            act(*arguments)
        elif pause_s == inf:
            self._is_waiting = True  # until the client disconnects
        else:
            self._timer = self._clock.callLater(pause_s, self._due, act, *arguments)

    def _due(self, act: Callable[..., None], *arguments: Any) -> None:
        self._timer = None
        act(*arguments)

    # -- the source

    def _read(self) -> None:
        """Request the next piece of the source; set `_is_waiting` if it is not available yet."""
        if self._has_ended:
            self._items = iter([End(Ending.CLOSE)])
            return
        try:
            found = self._reader.read()
        except Exception as error:  # noqa: BLE001  whatever a processor raises
            self._fail(str(error) or type(error).__name__)
            return
        if isinstance(found, Deferred):
            self._is_waiting = True
            found.addCallbacks(self._came, self._failed)
        else:
            self._take(found)

    def _came(self, piece: bytes | None) -> None:
        self._is_waiting = False
        if self._is_over:
            return
        self._take(piece)
        self._go_on_if_idle()

    def _failed(self, failure: Failure) -> None:
        self._is_waiting = False
        if self._is_over:
            return
        self._fail(failure.getErrorMessage() or type(failure.value).__name__)
        self._go_on_if_idle()

    def _go_on_if_idle(self) -> None:
        # While the transport has unsent bytes, it will call `resumeProducing` by itself.
        if not (self._is_going_on or self._is_writing):
            self._go_on()

    def _fail(self, why: str) -> None:
        _log.warn("a stream was aborted, because its source failed: {why}", why=why)
        self._has_ended = True
        self._items = self._through_wire([End(Ending.CLOSE, is_failure=True)])

    def _take(self, piece: bytes | None) -> None:
        items: Iterable[Item] = [(0.0, piece)] if piece is not None else [End(after_s=self._plan.after_s)]
        self._has_ended = piece is None
        for step in (*self._plan.body_steps, *self._plan.own_steps):
            items = step.apply(items)
        self._items = self._through_wire(self._framed(items))

    def _framed(self, items: Iterable[Item]) -> Iterator[Item]:
        observer = self._plan.observer
        for item in items:
            if isinstance(item, Raw):
                yield item
            elif isinstance(item, End):
                if item.ending is None and self._framing is Framing.CHUNKED:
                    yield 0.0, b"0\r\n\r\n"
                yield item
            else:
                pause_s, data = item
                if pause_s > 0:  # the data is sent, and counted, after the pause
                    yield pause_s, b""
                if data and observer is not None:
                    observer.body_sent(data)
                if data and self._framing is Framing.CHUNKED:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                else:
                    self._unsent_bytes -= len(data)
                yield 0.0, data

    def _through_wire(self, items: Iterable[Item]) -> Iterator[Item]:
        for step in self._plan.wire_steps:
            items = step.apply(items)
        return iter(items)

    # -- the end

    def _end(self, item: End) -> None:
        if self._is_over:
            return
        gate = self._plan.gate
        if gate is not None and gate.is_hung:
            self._is_waiting = True
            gate.when_running(lambda: self._end(item))
            return
        is_short = self._framing is Framing.LENGTH and self._unsent_bytes > 0
        ending = item.ending
        if ending is None:
            must_close = self._plan.must_close is not None and self._plan.must_close()
            ending = Ending.KEEP if self._keep and not must_close and not is_short else Ending.CLOSE
        how = StreamEnd.FAILED if item.is_failure else StreamEnd.CUT if item.ending else StreamEnd.COMPLETE
        self._stop(how)
        self._transport.unregisterProducer()
        self._done(ending)

    def _stop(self, how: StreamEnd) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._reader.close()
        if self._plan.observer is not None:
            self._plan.observer.ended(how)
