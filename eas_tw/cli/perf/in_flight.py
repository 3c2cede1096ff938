"""`CallsInFlight`, which starts calls and reports how they ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen
from twisted.python.failure import Failure

from eas_tw import EasError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from eas_tw.cli.perf.histogram import CompactHistogram


class Clock(Protocol):
    """The parts of a Twisted reactor that a run uses."""

    def seconds(self) -> float:
        """Return the time in seconds."""

    def callLater(self, delay: float, function: Callable[..., Any], *args: Any) -> Any:  # noqa: N802  Twisted's
        """Call a function after a delay in seconds."""


@frozen
class StreamTimes:
    """When the parts of a streamed response arrived.

    Attributes:
        first_byte_s: The time of the first byte of the body; `None` if the body is empty.
        gaps: The time between two events.
        events: The number of events, or of pieces if the response is not a stream of server-sent events.
        tokens: The number of tokens of a language model's answer; 0 if it is none.
    """

    first_byte_s: float | None
    gaps: CompactHistogram
    events: int
    tokens: int


@frozen
class EndedCall:
    """A call that has ended; times are seconds of the reactor's clock.

    Attributes:
        due_s: The time at which the call should have started: in an open loop that of the schedule, in a closed loop
            `sent_s`.
        sent_s: The time at which it was started.
        ended_s: The time at which it ended.
        error: The error; `None` if the call was answered.
        stream: The times of a streamed response; `None` for other responses, and for errors.
    """

    due_s: float
    sent_s: float
    ended_s: float
    error: EasError | None = None
    stream: StreamTimes | None = None

    @property
    def latency_s(self) -> float:
        """The seconds from the time at which the call was due, or was sent if that is earlier, to its end."""
        return self.ended_s - min(self.due_s, self.sent_s)

    @property
    def delay_s(self) -> float:
        """How late the call was sent, in seconds, ≥ 0."""
        return max(0.0, self.sent_s - self.due_s)


class CallsInFlight:
    """Starts calls, and knows those that have not ended.

    Args:
        clock: The reactor.
        send: A function that starts a call. Its Deferred fires with a `StreamTimes` or any other value, or fails with
            an `EasError`.
        on_ended: A function that is called with each call that has ended, but not with a cancelled one.
    """

    def __init__(self, clock: Clock, send: Callable[[], Deferred[Any]], on_ended: Callable[[EndedCall], None]) -> None:
        self._clock = clock
        self._send = send
        self._on_ended = on_ended
        self._running: dict[int, tuple[float, Deferred[Any]]] = {}
        self._started = 0
        self._cancelling = False

    def __len__(self) -> int:
        return len(self._running)

    def oldest_s(self) -> float:
        """Return the seconds since the oldest call in flight was due; 0 if there is none."""
        now_s = self._clock.seconds()
        return max((now_s - due_s for due_s, _ in self._running.values()), default=0.0)

    def start(self, due_s: float) -> Deferred[None]:
        """Start a call.

        Args:
            due_s: The time at which the call was due.

        Returns:
            A Deferred that fires when the call has ended, also with an `EasError`. It fails with any other exception.
        """
        sent_s = self._clock.seconds()
        number = self._started
        self._started += 1
        call = self._send()
        self._running[number] = (due_s, call)
        return call.addBoth(self._ended, number, due_s, sent_s)

    def cancel(self) -> None:
        """Cancel the calls in flight."""
        self._cancelling = True
        for _, call in list(self._running.values()):
            call.cancel()

    def _ended(self, result: Any, number: int, due_s: float, sent_s: float) -> Failure | None:
        del self._running[number]
        if self._cancelling:
            return None
        error = None
        if isinstance(result, Failure):
            if not isinstance(result.value, EasError):
                return result
            error = result.value
        stream = result if isinstance(result, StreamTimes) else None
        self._on_ended(EndedCall(due_s, sent_s, self._clock.seconds(), error, stream))
        return None
