"""`Stream` for threads, with a blocking context manager and blocking iterators."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from eas_tw import BodyError, EasError, LineSplitter, ServerSentEventParser, body_decompressor
from eas_tw.blocking.errors import as_predict_exception
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from twisted.internet.defer import Deferred

    from eas_tw import Instance, ServerSentEvent
    from eas_tw import Stream as DeferredStream
    from eas_tw.blocking.loop import Run

T = TypeVar("T")


class Stream(ProcessBound):
    """A response whose head has been received, and whose body a thread reads while it arrives.

    Iteration returns the bytes as they arrive, decompressed according to the Content-Encoding.

    Args:
        stream: The inner stream.
        run: A function that runs its argument in the reactor's thread, and waits for the result, which may be a
            Deferred.

    Attributes:
        status: The HTTP status.
        headers: The response's header fields, names in lower case.
        instance: The instance, or the gateway, that sends the response; `None` if it is not known.
    """

    def __init__(self, stream: DeferredStream, run: Run) -> None:
        self._stream = stream
        self._run = run
        self.status: int = stream.status
        self.headers: dict[str, str] = stream.headers
        self.instance: Instance | None = stream.instance

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            decompressor = body_decompressor(self.headers.get("content-encoding", ""))
        except BodyError as error:
            self.close()
            raise as_predict_exception(error) from error
        while True:
            piece = self._next_piece()
            if decompressor is not None:
                yield from self._checked(decompressor.feed(piece) if piece else decompressor.finish())
            elif piece:
                yield piece
            if not piece:
                return

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The name and the value of each header field as received, in order; repeated fields are not joined."""
        return self._stream.raw_headers

    def iter_raw(self) -> Iterator[bytes]:
        """Iterate over the bytes as they arrive, without decompression, for programs that forward a response.

        Raises:
            PredictException: The stream broke.
        """
        while piece := self._next_piece():
            yield piece

    def read(self) -> bytes:
        """Read the rest of the body.

        Raises:
            PredictException: The stream broke, or the body cannot be decompressed.
        """
        return b"".join(self)

    def lines(self, *, max_line_bytes: int = 1 << 20) -> Iterator[str]:
        """Iterate over the lines of the body, as UTF-8 text without line ends; CR, LF and CRLF end a line.

        Args:
            max_line_bytes: The maximum length of a line, which bounds the memory that is used.

        Raises:
            PredictException: The stream broke, a line is longer than `max_line_bytes`, or the body cannot be
                decompressed.
        """
        splitter = LineSplitter(max_line_bytes)
        for piece in self:
            yield from self._checked(splitter.feed(piece))
        yield from splitter.finish()

    def events(self, *, max_event_bytes: int = 1 << 20) -> Iterator[ServerSentEvent]:
        """Iterate over the server-sent events of the body.

        Args:
            max_event_bytes: The maximum size of an event, which bounds the memory that is used.

        Raises:
            PredictException: The stream broke, an event is larger than `max_event_bytes`, or the body cannot be
                decompressed.
        """
        parser = ServerSentEventParser(max_event_bytes)
        for piece in self:
            yield from self._checked(parser.feed(piece))

    def close(self, *, grace_s: float = 0.0) -> None:
        """Close the stream, and its connection unless the body has ended. A second call does nothing.

        Args:
            grace_s: The maximum time to wait for the end of the body, in seconds, ≥ 0, as for `eas_tw.Stream.close`.
                The reactor's thread waits; the method returns immediately.
        """
        self._run(partial(self._stream.close, grace_s=grace_s))

    def _next_piece(self) -> bytes:
        def read() -> Deferred[bytes]:
            return self._stream.next_piece()

        def close(_: bytes) -> None:
            self._stream.close()

        try:
            # A reader that continued after a lost piece would get a wrong body, so the stream is closed.
            piece: bytes = self._run(read, close)
        except EasError as error:
            raise as_predict_exception(error) from error
        return piece

    def _checked(self, parts: Iterable[T]) -> Iterator[T]:
        """Yield the parts; if they cannot be decoded, close the stream and raise `PredictException`."""
        try:
            yield from parts
        except BodyError as error:
            self.close()
            raise as_predict_exception(error) from error
