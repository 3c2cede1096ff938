"""`Stream`, a response that is read while it arrives, as bytes, lines or server-sent events.

The same class works in Twisted coroutines and in asyncio: the argument `wait` converts a Deferred to an awaitable of
the caller's event loop.
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


_TURN_BYTES = 1 << 16
"""Number of bytes after which a reader that has not waited for the connection waits for the reactor's next turn.

Parsing this many bytes of short server-sent events took 22 ms of CPU time. The 64 KiB that may be unread can expand to
64 MiB with gzip, and to more with zstd; and the body of an error response is one piece of up to `max_response_bytes`.
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
        read_piece: A faster replacement of `wait(body.read_piece())`, which creates no Deferred for each piece; `None`
            to use `wait`.

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
        """Return a `Stream` with the same body that waits with other functions; called by the adapters."""
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
        """The name and the value of each header field as received, in order; repeated fields are not joined."""
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
            for at in range(0, len(piece), _TURN_BYTES):
                if at:
                    await self._next_turn()
                for line in splitter.feed(piece[at : at + _TURN_BYTES]):
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
        # Fast path: a second generator would add a step for each piece, and the pieces of an event stream are small.
        body, read = self._body, self._next
        while True:
            found = body.take()
            if found is None:
                found = await read()
            if not found:
                return
            for at in range(0, len(found), _TURN_BYTES):
                if at:
                    await self._next_turn()
                for event in feed(found[at : at + _TURN_BYTES]):
                    yield event

    def iter_raw(self) -> AsyncIterator[bytes]:
        """Iterate over the bytes as they arrive, without decompression, for programs that forward a response.

        Raises:
            StreamBroken: The stream broke.
        """
        return _RawPieces(self._body, self._next)

    def next_piece(self) -> Deferred[bytes]:
        """Read the next piece without a coroutine.

        Returns:
            A Deferred that fires with the next bytes as received, without decompression, or with `b""` at the end of
            the body. It fails with `StreamBroken` if the stream broke.
        """
        return self._body.read_piece()

    def close(self, *, grace_s: float = 0.0) -> None:
        """Close the stream, and its connection unless the body has ended. A second call does nothing.

        Args:
            grace_s: The maximum time to wait for the end of the body, in seconds, ≥ 0, if all received bytes have been
                read. A server may send the end of a chunked body after the last piece of data. Without the wait, a
                reader that stops after that piece closes a connection that could be reused.
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
    """The iterator of `Stream.iter_raw`; asyncio would run the finalizer of a generator in a separate task."""

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
    """A stream whose request has not been sent; `async with`, `await` or `open` sends it.

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
            A Deferred that fires with the stream when the response's head has arrived. It fails with the errors of
            `PredictClient.predict`. Cancelling it cancels the call.
        """
        return self._begin()

    async def __aenter__(self) -> Stream:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __await__(self) -> Generator[Any, Any, Stream]:
        opening = self._begin().addCallback(self._keep)
        return opening.__await__() if self._wait is None else self._opened(self._wait(opening)).__await__()

    async def _opened(self, opening: Awaitable[Stream]) -> Stream:
        try:
            return await opening
        except BaseException:
            # asyncio may cancel the waiting task when the stream has opened, and before the task has run.
            self._close()
            raise

    def _keep(self, stream: Stream) -> Stream:
        self._stream = stream
        return stream

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
