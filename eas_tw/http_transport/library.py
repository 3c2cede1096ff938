"""`Library`, the classes of an HTTP library that the transports use."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen
class Library:
    """An HTTP library whose transports this package implements.

    Attributes:
        module: The module `httpx2` or `httpx`, for its `Response` and its exceptions.
        async_body: The subclass of `AsyncBody` that is an `AsyncByteStream` of the HTTP library.
        body: The subclass of `Body` that is a `SyncByteStream` of the HTTP library.
    """

    module: Any
    async_body: Any
    body: Any

    def response(self, stream: Any, body: Any) -> Any:
        """Create the HTTP library's response from a stream of eas_tw and the body that reads it."""
        return self.module.Response(
            stream.status,
            headers=list(stream.raw_headers),
            stream=body,
            extensions={"http_version": b"HTTP/1.1", "eas_instance": stream.instance},
        )
