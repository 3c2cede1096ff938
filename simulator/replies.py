"""The last discovery reply of each service as it was sent, and the number of replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from simulator.http1 import Response

MAX_EXCERPT_BYTES = 8192
MAX_PATH = 512


@frozen
class Reply:
    """A discovery reply, as it was sent.

    Attributes:
        at: Time, in seconds since the epoch.
        service: Name of the requested service.
        path: Path and query, as sent; truncated if long.
        answer: Result of the request, which is a fault's type, `ok`, or `unknown_service`.
        status: HTTP status; 0 for no response.
        body: The first bytes of the body, as text.
        body_bytes: Size of the whole body.
    """

    at: float
    service: str
    path: str
    answer: str
    status: int
    body: str
    body_bytes: int


class Replies:
    """The last discovery reply of each service, and the number of all replies."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all replies."""
        self.total = 0
        self.counts: dict[str, int] = {}
        self.latest: dict[str, Reply] = {}

    def note(self, at: float, service: str, path: str, answer: str, response: Response | None) -> None:
        """Record a reply for a service; `response` is `None` when none is sent."""
        self.total += 1
        self.counts[service] = self.counts.get(service, 0) + 1
        status, body = (response.status, response.body) if response else (0, b"")
        text = body[:MAX_EXCERPT_BYTES].decode("utf-8", "replace")
        self.latest[service] = Reply(at, service, path[:MAX_PATH], answer, status, text, len(body))
