"""Conversion of a response's bytes to the result of a call: decompression, then parsing by the request.

Small bodies are decompressed immediately. A body that takes longer is decompressed in a thread, because 300 kB of gzip
can expand to 300 MB, which would block the reactor for 0.7 s (29 ms with a thread).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from eas_tw.body.compression import decoding, decompressing
from eas_tw.body.steps import FIRST_BYTES, begin
from eas_tw.errors import BodyError
from eas_tw.net.heads import text_headers
from eas_tw.net.offload import Unfinished
from eas_tw.response import Response, status_of

if TYPE_CHECKING:
    from eas_tw.body.steps import Steps
    from eas_tw.config import ClientConfig
    from eas_tw.net.offload import Offload

_CONTENT_ENCODING = "content-encoding"


class ResponseReader:
    """Converts the responses to the requests of one client.

    If a request has a method `parse_answer`, as the request of a proxy has, that method is called with headers and body
    as received, without decompression.

    Args:
        config: The settings; `decompress` and `max_response_bytes` are used.
        offload: The object that runs long decompressions in a thread.
    """

    __slots__ = ("_config", "_offload", "_plain_head")

    takes_any_status: bool = False

    def __init__(self, config: ClientConfig, offload: Offload) -> None:
        self._config = config
        self._offload = offload
        # The last head without Content-Encoding. Most heads are equal to it, and searching a head for the field takes
        # 0.5 µs.
        self._plain_head = b""

    def read(self, parser: Any, head: bytes, body: bytes) -> Any:
        """Decompress and parse a successful response.

        Args:
            parser: The request, which parses its response.
            head: The response's status line and header fields.
            body: The response's body.

        Returns:
            1. The parsed response.
            2. An `Unfinished`, if the decompression takes too long for one turn of the reactor.

        Raises:
            BodyError: The body cannot be decompressed or parsed.
        """
        parse_answer = getattr(parser, "parse_answer", None)
        if parse_answer is not None:
            return parse_answer(text_headers(head), body)
        if head == self._plain_head:
            return parser.parse_response(body)
        steps = self._decompressing(head, body, self._config.max_response_bytes)
        if steps is None:
            self._plain_head = head
            return parser.parse_response(body)
        content, is_done = begin(steps)
        if is_done:
            return parser.parse_response(content)
        return Unfinished(self._offload.run(steps), parser.parse_response)

    def error_body(self, parser: Any, head: bytes, body: bytes) -> bytes:
        """Decompress the body of a response whose status is an error.

        Returns:
            1. The decompressed body.
            2. The body unchanged, if it is not compressed, cannot be decompressed, or would have more than 256 KiB.
        """
        if hasattr(parser, "parse_answer"):
            return body
        try:
            steps = self._decompressing(head, body, FIRST_BYTES)
            content, _ = (None, False) if steps is None else begin(steps)
        except BodyError:  # the caller needs the StatusError, which a BodyError would hide
            return body
        return body if content is None else content

    def _decompressing(self, head: bytes, body: bytes, limit: int) -> Steps[bytes] | None:
        codec = self._config.decompress
        if codec is not None:
            return decompressing(codec, body, limit)
        if b"content-encoding:" in head.lower():
            return decoding(text_headers(head).get(_CONTENT_ENCODING, ""), body, limit)
        return None


class AnyStatusReader(ResponseReader):
    """Converts a response of any status to a `Response`."""

    __slots__ = ()

    takes_any_status = True

    def read(self, parser: Any, head: bytes, body: bytes) -> Any:  # noqa: ARG002  a `Response` needs no parser
        """Decompress a response; results and errors are those of `ResponseReader.read`."""
        made = partial(Response, status_of(head), text_headers(head))
        steps = self._decompressing(head, body, self._config.max_response_bytes)
        if steps is None:
            return made(body)
        content, is_done = begin(steps)
        return made(content or b"") if is_done else Unfinished(self._offload.run(steps), made)


class StreamReader(ResponseReader):
    """Converts a response with an error status, which is always received completely, to a stream.

    Args:
        config: The settings.
        offload: The object that runs long decompressions in a thread.
        takes_any_status: Whether the caller accepts any status; if `False`, the call fails with `StatusError`.
    """

    __slots__ = ("takes_any_status",)

    def __init__(self, config: ClientConfig, offload: Offload, *, takes_any_status: bool) -> None:
        super().__init__(config, offload)
        self.takes_any_status = takes_any_status

    def read(self, parser: Any, head: bytes, body: bytes) -> Any:
        """Create the stream with `parser`, a function of status, head and body."""
        return parser(status_of(head), head, body)
