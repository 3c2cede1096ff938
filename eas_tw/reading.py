"""From a response's bytes to what `predict` gives: decompressed where it came compressed, then parsed by the request.

Small bodies are read at once. A body that takes longer is decompressed apart from the reactor's turns, because 300 kB
of it may stand for 300 MB.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from eas_tw.body.compression import decoding, decompressing
from eas_tw.body.steps import FIRST_BYTES, begin
from eas_tw.errors import BodyError
from eas_tw.net.http1 import text_headers
from eas_tw.net.offload import Unfinished
from eas_tw.response import PlainRequest, Response, status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.body.request import Request
    from eas_tw.body.steps import Steps
    from eas_tw.config import ClientConfig
    from eas_tw.net.offload import Offload

_CONTENT_ENCODING = "content-encoding"


class ResponseReader:
    """Reads the responses to one request.

    A request that has `parse_answer`, such as a proxy's, gets headers and body as they came.

    Args:
        request: Parses them.
        config: Says how they are compressed, and the most bytes they may have.
        offload: Takes the long work.
    """

    __slots__ = ("_config", "_offload", "_request")

    takes_any_status: bool = False

    def __init__(self, request: Request, config: ClientConfig, offload: Offload) -> None:
        self._request = request
        self._config = config
        self._offload = offload

    def read(self, head: bytes, body: bytes) -> Any:
        """Read a response that is an answer.

        Returns:
            1. What the request parses.
            2. `Unfinished`, if decompressing it takes longer than a turn of the reactor should.

        Raises:
            BodyError: It cannot be decompressed or parsed.
        """
        request = self._request
        parse_answer = getattr(request, "parse_answer", None)
        if parse_answer is not None:
            return parse_answer(text_headers(head), body)
        config = self._config
        if config.decompress is None and b"content-encoding:" not in head.lower():
            return request.parse_response(body)
        steps = self._decompressing(head, body, config.max_response_bytes)
        if steps is None:
            return request.parse_response(body)
        content, is_done = begin(steps)
        if is_done:
            return request.parse_response(content)  # type: ignore[arg-type]  # it is bytes when it is done
        return Unfinished(self._offload.run(steps), request.parse_response)

    def error_body(self, head: bytes, body: bytes) -> bytes:
        """Decompress the body of a response with another status.

        Returns:
            1. The decompressed body.
            2. The body as it came, if it is not compressed, cannot be decompressed, or has more than 256 KiB then.
        """
        if hasattr(self._request, "parse_answer"):
            return body
        try:
            steps = self._decompressing(head, body, FIRST_BYTES)
            content, _ = (None, False) if steps is None else begin(steps)
        except BodyError:  # the status says more than that would
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
    """Reads a response whatever its status, head and body."""

    __slots__ = ()

    takes_any_status = True

    def read(self, head: bytes, body: bytes) -> Any:
        """Read a response; results and errors as those of `ResponseReader.read`."""
        made = partial(Response, status_of(head), text_headers(head))
        steps = self._decompressing(head, body, self._config.max_response_bytes)
        if steps is None:
            return made(body)
        content, is_done = begin(steps)
        return made(content or b"") if is_done else Unfinished(self._offload.run(steps), made)


class StreamReader(ResponseReader):
    """Makes a stream of a response that was collected because it is no success.

    Args:
        config: As for every reader.
        offload: As for every reader.
        whole: Makes a stream of status, head and body.
        takes_any_status: Whether the caller wants it; otherwise it is a `StatusError`.
    """

    __slots__ = ("_whole", "takes_any_status")

    def __init__(
        self,
        config: ClientConfig,
        offload: Offload,
        *,
        whole: Callable[[int, bytes, bytes], Any],
        takes_any_status: bool,
    ) -> None:
        super().__init__(PlainRequest(b""), config, offload)
        self._whole = whole
        self.takes_any_status = takes_any_status

    def read(self, head: bytes, body: bytes) -> Any:
        """The stream."""
        return self._whole(status_of(head), head, body)
