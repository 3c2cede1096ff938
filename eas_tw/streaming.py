"""`Stream`: a response that is read while it arrives, as bytes, lines or server-sent events.

The same class serves Twisted coroutines and asyncio: it waits by what its maker gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from eas_tw.body.piecewise import body_decompressor
from eas_tw.body.server_sent_events import LineSplitter, ServerSentEventParser
from eas_tw.net.http1 import text_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator
    from types import TracebackType

    from twisted.internet.defer import Deferred

    from eas_tw.body.server_sent_events import ServerSentEvent
    from eas_tw.net.stream import ResponseStream
    from eas_tw.policy.instances import Instance

    Wait = Callable[[Deferred[Any]], Awaitable[Any]]


class Stream:
    """A response whose head has come and whose body is on its way.

    Iterating gives the bytes as they come. Read it to its end, or leave the block it was opened in, which closes it: a
    stream that is neither keeps its connection, and its instance waits when `stream_buffer_bytes` are unread.

    Args:
        body: Where the bytes come from.
        instance: Which instance sends it.
        wait: Makes something of a Deferred that the caller's coroutines can await.

    Attributes:
        status: The HTTP status.
        headers: The response's fields, names in lower case.
        instance: Which instance sends it.
    """

    def __init__(self, body: ResponseStream, instance: Instance | None, wait: Wait | None = None) -> None:
        self._body = body
        self._wait = wait
        self.status = body.status
        self.headers = text_headers(body.head)
        self.instance = instance
        self._decompressor = body_decompressor(self.headers.get("content-encoding", ""))

    def adapted(self, wait: Wait) -> Stream:
        """Return the same stream for coroutines that await in another way; for adapters."""
        return Stream(self._body, self.instance, wait)

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
    def received_bytes(self) -> int:
        """Of the body so far, as they came."""
        return self._body.received_bytes

    async def read(self) -> bytes:
        """The rest of the body.

        Raises:
            StreamBroken: It broke.
            BodyError: It cannot be decompressed.
        """
        return b"".join([piece async for piece in self._chunks()])

    async def lines(self, *, max_line_bytes: int = 1 << 20) -> AsyncIterator[str]:
        """The body as lines of UTF-8 text, without their ends; CR, LF and CRLF end a line.

        Raises:
            StreamBroken: It broke.
            BodyError: A line is longer than `max_line_bytes`.
        """
        splitter = LineSplitter(max_line_bytes)
        async for piece in self._chunks():
            for line in splitter.feed(piece):
                yield line
        for line in splitter.finish():
            yield line

    async def events(self, *, max_event_bytes: int = 1 << 20) -> AsyncIterator[ServerSentEvent]:
        """The body as server-sent events.

        Raises:
            StreamBroken: It broke.
            BodyError: An event is larger than `max_event_bytes`.
        """
        parser = ServerSentEventParser(max_event_bytes)
        async for piece in self._chunks():
            for event in parser.feed(piece):
                yield event

    def next_piece(self) -> Deferred[bytes]:
        """For those who write callbacks: fires with the next bytes, as they came, or `b""` at the end."""
        return self._body.read_piece()

    def close(self) -> None:
        """Read no further; the connection is closed unless the body has ended. Closing twice is fine."""
        self._body.close()

    async def _chunks(self) -> AsyncIterator[bytes]:
        wait, body, decompressor = self._wait, self._body, self._decompressor
        while True:
            piece = await (body.read_piece() if wait is None else wait(body.read_piece()))
            if decompressor is not None:
                try:
                    for part in decompressor.feed(piece) if piece else decompressor.finish():
                        yield part
                except BaseException:
                    body.close()
                    raise
            elif piece:
                yield piece
            if not piece:
                return


class OpeningStream:
    """A stream that is opened by `async with`, or by `open` for those who write callbacks.

    Args:
        begin: Sends the request; fires with the stream.
        wait: As for `Stream`.
    """

    def __init__(self, begin: Callable[[], Deferred[Stream]], wait: Wait | None = None) -> None:
        self._begin = begin
        self._wait = wait
        self._stream: Stream | None = None

    def open(self) -> Deferred[Stream]:
        """Send the request.

        Returns:
            Fires with the stream once the response's head has come. Fails as `PredictClient.predict` does; cancelling
            it cancels the call.
        """
        return self._begin()

    async def __aenter__(self) -> Stream:
        opening = self._begin()
        self._stream = stream = await (opening if self._wait is None else self._wait(opening))
        return stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def __await__(self) -> Generator[Any, Any, Stream]:
        opening = self._begin()
        return (opening if self._wait is None else self._wait(opening)).__await__()
