"""A stream for threads: a plain context manager with plain iterators."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from eas_tw import BodyError, EasError, LineSplitter, ServerSentEventParser, body_decompressor
from eas_tw.blocking.errors import as_predict_exception
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from twisted.internet.defer import Deferred

    from eas_tw import Instance, ServerSentEvent
    from eas_tw import Stream as DeferredStream

    Run = Callable[[Callable[[], Any]], Any]

T = TypeVar("T")


class Stream(ProcessBound):
    """A response whose head has come and whose body is read by a thread.

    Args:
        stream: The stream on the reactor.
        run: Runs a function in the reactor's thread and waits for its result or for its Deferred.

    Attributes:
        status: The HTTP status.
        headers: The response's fields, names in lower case.
        instance: The instance that sends it.
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
        """Name and value of each header field as received, in order; repeated fields are not joined."""
        return self._stream.raw_headers

    def iter_raw(self) -> Iterator[bytes]:
        """Iterate over the bytes as they arrive, not decompressed, for programs that pass a response on.

        Raises:
            PredictException: The stream broke.
        """
        while piece := self._next_piece():
            yield piece

    def read(self) -> bytes:
        """Return the rest of the body.

        Raises:
            PredictException: The stream broke, or cannot be decompressed.
        """
        return b"".join(self)

    def lines(self, *, max_line_bytes: int = 1 << 20) -> Iterator[str]:
        """Iterate over the body's lines, as UTF-8 text without their ends; CR, LF and CRLF end a line.

        Raises:
            PredictException: The stream broke, or a line is longer than `max_line_bytes`.
        """
        splitter = LineSplitter(max_line_bytes)
        for piece in self:
            yield from self._checked(splitter.feed(piece))
        yield from splitter.finish()

    def events(self, *, max_event_bytes: int = 1 << 20) -> Iterator[ServerSentEvent]:
        """Iterate over the body's server-sent events.

        Raises:
            PredictException: The stream broke, or an event is larger than `max_event_bytes`.
        """
        parser = ServerSentEventParser(max_event_bytes)
        for piece in self:
            yield from self._checked(parser.feed(piece))

    def close(self, *, grace_s: float = 0.0) -> None:
        """Stop reading; the connection is closed unless the body has ended. Closing twice is fine.

        Args:
            grace_s: The time in seconds in which the body may still end, as for `eas_tw.Stream.close`. The method does
                not wait for it.
        """
        self._run(partial(self._stream.close, grace_s=grace_s))

    def _next_piece(self) -> bytes:
        def read() -> Deferred[bytes]:
            return self._stream.next_piece()

        try:
            piece: bytes = self._run(read)
        except EasError as error:
            raise as_predict_exception(error) from error
        return piece

    def _checked(self, parts: Iterable[T]) -> Iterator[T]:
        """Close the stream when its content cannot be read."""
        try:
            yield from parts
        except BodyError as error:
            self.close()
            raise as_predict_exception(error) from error
