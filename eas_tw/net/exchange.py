"""The interfaces between a connection, the exchange that it carries, and its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.net.http1 import ClientConnection
    from eas_tw.net.stream import Source
    from eas_tw.policy.outcomes import Outcome


class BodySink(Protocol):
    """Receives the body of a response while it arrives; at the end, `finished` or `broke` is called once."""

    def open(self) -> None:
        """Prepare for the body; called once, before any other method, when the head is complete."""

    def feed(self, piece: bytes) -> None:
        """Receive a piece of the body."""

    def finished(self) -> None:
        """Report that the body is complete."""

    def broke(self, outcome: Outcome) -> None:
        """Report that the rest of the body will not arrive."""


class NoBody:
    """The result of `Exchange.on_head` for a response without a body, whatever its Content-Length says."""


class Exchange(Protocol):
    """Receives a response; either `answered` or `broke` is called once, unless `on_head` returns a sink."""

    @property
    def on_head(self) -> Callable[[Source, int, bytes], BodySink | type[NoBody] | None] | None:
        """A function called when the head of the final response is complete; `None` to receive complete responses.

        Its arguments are the connection, the status and the head. Its result determines how the body is handled:

        1. `None`: the body is collected, and the response is passed to `answered`.
        2. `NoBody`: the response is passed to `answered` without a body.
        3. A sink: it receives the body as it arrives, and the exchange gets no further reports.
        """

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """Receive a complete response; `head` is its status line and fields, each ended by CRLF."""

    def broke(self, outcome: Outcome) -> None:
        """Report that no complete response will arrive."""


class Owner(Protocol):
    """Owns connections; implemented by the pool."""

    def connection_made(self, connection: ClientConnection) -> None:
        """Report that the connection is open and can take a request."""

    def connection_free(self, connection: ClientConnection) -> None:
        """Report that the exchange has ended and the connection can take another request."""

    def connection_lost(self, connection: ClientConnection) -> None:
        """Report that the socket is closed."""
