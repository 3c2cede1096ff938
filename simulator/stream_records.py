"""The record of one streamed response, from its first piece to its row in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.streaming import StreamEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.instance import SimulatedInstance
    from simulator.messages import ReceivedRequest


class RunningStream:
    """A running streamed response (`StreamObserver`).

    Args:
        instance: The instance.
        request: The answered request.
        status: HTTP status.
        began: Time at which the request was complete, in seconds of the clock.
        ended: Called once, when the stream has ended, with this object and the kind of end.

    Attributes:
        bytes_out: Size of the body so far.
        first_byte_s: Seconds from the complete request to the first byte of the body; 0 while there is none.
        captured: First bytes of the body, at most the service's `capture_bytes`.
    """

    __slots__ = (
        "_ended", "_keep_bytes", "_life", "began", "bytes_out", "captured", "first_byte_s", "instance", "request",
        "status",
    )  # fmt: skip

    def __init__(
        self,
        instance: SimulatedInstance,
        request: ReceivedRequest,
        status: int,
        began: float,
        ended: Callable[[RunningStream, StreamEnd], None],
    ) -> None:
        self.instance = instance
        self.request = request
        self.status = status
        self.began = began
        self.bytes_out = 0
        self.first_byte_s = 0.0
        self.captured = bytearray()
        self._keep_bytes = instance.service.spec.capture_bytes or 0
        self._life = instance.life
        self._ended: Callable[[RunningStream, StreamEnd], None] | None = ended
        instance.streams[self] = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the complete request."""
        return float(self.instance.service.world.reactor.seconds() - self.began)

    def body_sent(self, data: bytes) -> None:
        """Record a piece that is sent (`StreamObserver`)."""
        if not self.bytes_out:
            self.first_byte_s = self.elapsed_s
        self.bytes_out += len(data)
        if len(self.captured) < self._keep_bytes:
            self.captured += data[: self._keep_bytes - len(self.captured)]

    def ended(self, end: StreamEnd) -> None:
        """Record the end of the stream (`StreamObserver`)."""
        tell, self._ended = self._ended, None
        if tell is None:
            return
        del self.instance.streams[self]
        if self._life != self.instance.life and end is StreamEnd.CLIENT_CLOSED:
            end = StreamEnd.CRASHED
        tell(self, end)
