"""`Stream`, a response that is read while it arrives, as bytes, lines or server-sent events.

The same class works in Twisted coroutines and in asyncio: the `wait` argument converts a Deferred to an awaitable of
the caller's kind.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from eas_tw.body.piecewise import body_decompressor
from eas_tw.body.server_sent_events import LineSplitter, ServerSentEventParser
from eas_tw.net.heads import raw_headers, text_headers
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator
    from types import TracebackType

    from twisted.internet.defer import Deferred

    from eas_tw.body.server_sent_events import ServerSentEvent
    from eas_tw.net.stream import ResponseStream
    from eas_tw.policy.instance import Instance

    Wait = Callable[[Deferred[Any]], Awaitable[Any]]
    ReadPiece = Callable[[ResponseStream], Awaitable[bytes]]


_TURN_BYTES = 1 << 20
"""Decompressed bytes after which a reader lets the reactor go on: they take a few milliseconds.

The 64 KiB that may be unread expand to 64 MiB of zeros, or more of zstd.
"""


class Stream(ProcessBound):
    """A response whose head has been received, and whose body is still arriving.

    Asynchronous iteration returns the bytes as they arrive. Read the stream to its end, or close it (the end of the
    `async with` block does). A stream that is neither read nor closed keeps its connection open, and the client stops
    reading from that connection when `stream_buffer_bytes` are unread.

    Args:
        body: The source of the bytes.
        instance: The instance, or the gateway, that sends the response; `None` if it is not known.
        wait: A function that converts a Deferred to an awaitable of the caller's event loop; `None` to await the
            Deferred itself.
        read_piece: A function that does the same as `wait` of `body.read_piece()`, without a Deferred for each piece;
            `None` to use `wait`.

    Attributes:
        status: The HTTP status.
        headers: The response's header fields, names in lower case.
        instance: The instance, or the gateway, that sends the response; `None` if it is not known.
    """

    def __init__(
        self,
        body: ResponseStream,
        instance: Instance | None,
        wait: Wait | None = None,
        read_piece: ReadPiece | None = None,
    ) -> None:
        self._body = body
        self._next_turn = body.next_turn if wait is None else partial(_next_turn_by, wait, body)
        self._next: Callable[[], Awaitable[bytes]]
        if read_piece is not None:
            self._next = partial(read_piece, body)
        elif wait is not None:
            self._next = partial(_next_by, wait, body)
        else:
            self._next = body.next_piece
        self.status = body.status
        self.headers = text_headers(body.head)
        self.instance = instance

    def adapted(self, wait: Wait, read_piece: ReadPiece | None = None) -> Stream:
        """Return the same stream for coroutines that await in another way; for adapters."""
        return Stream(self._body, self.instance, wait, read_piece)

    def __repr__(self) -> str:
        state = "open" if self._body.outcome is None else str(self._body.outcome)
        return f"<Stream {self.status}, {self._body.received_bytes} bytes, {state}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Name and value of each header field as received, in order; repeated fields are not joined."""
        return raw_headers(self._body.head)

    @property
    def received_bytes(self) -> int:
        """The number of bytes of the body that have been received, before decompression."""
        return self._body.received_bytes

    async def read(self) -> bytes:
        """Read the rest of the body.

        Raises:
            StreamBroken: The stream broke.
            BodyError: The body cannot be decompressed.
        """
        if "content-encoding" in self.headers:
            return b"".join([piece async for piece in self._chunks()])
        pieces: list[bytes] = []
        while True:
            piece = self._body.take()
            if piece is None:
                piece = await self._next()
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    async def lines(self, *, max_line_bytes: int = 1 << 20) -> AsyncIterator[str]:
        """Iterate over the lines of the body, as UTF-8 text without line ends; CR, LF and CRLF end a line.

        Args:
            max_line_bytes: The maximum length of a line, which bounds the memory that is used.

        Raises:
            StreamBroken: The stream broke.
            BodyError: A line is longer than `max_line_bytes`, or the body cannot be decompressed.
        """
        splitter = LineSplitter(max_line_bytes)
        async for piece in self._chunks():
            for line in splitter.feed(piece):
                yield line
        for line in splitter.finish():
            yield line

    async def events(self, *, max_event_bytes: int = 1 << 20) -> AsyncIterator[ServerSentEvent]:
        """Iterate over the server-sent events of the body.

        Args:
            max_event_bytes: The maximum size of an event, which bounds the memory that is used.

        Raises:
            StreamBroken: The stream broke.
            BodyError: An event is larger than `max_event_bytes`, or the body cannot be decompressed.
        """
        parser = ServerSentEventParser(max_event_bytes)
        feed = parser.feed
        if "content-encoding" in self.headers:
            async for piece in self._chunks():
                for event in feed(piece):
                    yield event
            return
        # An uncompressed body is read without a second generator: its events are small, and each costs the steps of
        # this loop.
        body, read = self._body, self._next
        while True:
            found = body.take()
            if found is None:
                found = await read()
            if not found:
                return
            for event in feed(found):
                yield event

    def iter_raw(self) -> AsyncIterator[bytes]:
        """Iterate over the bytes as they arrive, not decompressed, for programs that pass a response on.

        Raises:
            StreamBroken: The stream broke.
        """
        return _RawPieces(self._body, self._next)

    def next_piece(self) -> Deferred[bytes]:
        """Read the next piece without a coroutine.

        Returns:
            A Deferred that fires with the next bytes as received, not decompressed, or with `b""` at the end of the
            body. It fails with `StreamBroken`.
        """
        return self._body.read_piece()

    def close(self, *, grace_s: float = 0.0) -> None:
        """Close the stream, and its connection unless the body has ended. Closing again does nothing.

        Args:
            grace_s: The time in seconds in which the body may still end, if all its bytes have been read. A server may
                send the end of a chunked body after its last piece; without the time, a reader that stops at that
                piece closes a connection that could be used again.
        """
        self._body.close(grace_s)

    async def _chunks(self) -> AsyncIterator[bytes]:
        body, read = self._body, self._next
        since_turn = 0
        try:
            decompressor = body_decompressor(self.headers.get("content-encoding", ""))
        except BaseException:
            body.close()
            raise
        while True:
            piece = body.take()
            if piece is None:
                piece = await read()
            if decompressor is not None:
                try:
                    for part in decompressor.feed(piece) if piece else decompressor.finish():
                        yield part
                        since_turn += len(part)
                        if since_turn >= _TURN_BYTES:
                            since_turn = 0
                            await self._next_turn()
                except BaseException:
                    body.close()
                    raise
            elif piece:
                yield piece
            if not piece:
                return


def _next_by(wait: Wait, body: ResponseStream) -> Awaitable[bytes]:
    return wait(body.read_piece())


def _next_turn_by(wait: Wait, body: ResponseStream) -> Awaitable[None]:
    return wait(body.next_turn())


class _RawPieces:
    """The iterator of `Stream.iter_raw`; not a generator, whose finalizer would run as a task of its own in asyncio."""

    __slots__ = ("_body", "_next")

    def __init__(self, body: ResponseStream, read: Callable[[], Awaitable[bytes]]) -> None:
        self._body = body
        self._next = read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = self._body.take()
        if piece is None:
            piece = await self._next()
        if not piece:
            raise StopAsyncIteration
        return piece


class OpeningStream:
    """A stream that is not open yet: `async with`, `await` or `open` sends its request.

    Args:
        begin: A function that sends the request, and returns a Deferred of the stream.
        wait: A function that converts a Deferred to an awaitable of the caller's event loop; `None` to await the
            Deferred itself.
    """

    def __init__(self, begin: Callable[[], Deferred[Stream]], wait: Wait | None = None) -> None:
        self._begin = begin
        self._wait = wait
        self._stream: Stream | None = None

    def open(self) -> Deferred[Stream]:
        """Send the request.

        Returns:
            A Deferred that fires with the stream when the response's head has arrived. It fails as that of
            `PredictClient.predict` does. Cancelling it cancels the call.
        """
        return self._begin()

    async def __aenter__(self) -> Stream:
        try:
            return await self
        except BaseException:
            # The waiting task may be cancelled at the moment when the stream opens.
            self._close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __await__(self) -> Generator[Any, Any, Stream]:
        opening = self._begin().addCallback(self._keep)
        return (opening if self._wait is None else self._wait(opening)).__await__()

    def _keep(self, stream: Stream) -> Stream:
        self._stream = stream
        return stream

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
