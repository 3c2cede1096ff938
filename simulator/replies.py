"""What discovery has answered: the last reply of each service as it was served, and how many there were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from simulator.http1 import Response

MAX_EXCERPT_BYTES = 8192
MAX_PATH = 512


@frozen
class Reply:
    """A reply of discovery, as it was served.

    Attributes:
        at: Seconds since the epoch.
        service: Whose list was asked for.
        path: Path and query, as sent; a long one is cut.
        answer: What answered: a fault's type, `ok`, or `unknown_service`.
        status: HTTP status; 0 for silence.
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
    """The last discovery reply of each service, and the number of all."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.total = 0
        self.counts: dict[str, int] = {}
        self.latest: dict[str, Reply] = {}

    def note(self, at: float, service: str, path: str, answer: str, response: Response | None) -> None:
        """Discovery has answered for a service, or has decided not to."""
        self.total += 1
        self.counts[service] = self.counts.get(service, 0) + 1
        status, body = (response.status, response.body) if response else (0, b"")
        text = body[:MAX_EXCERPT_BYTES].decode("utf-8", "replace")
        self.latest[service] = Reply(at, service, path[:MAX_PATH], answer, status, text, len(body))
