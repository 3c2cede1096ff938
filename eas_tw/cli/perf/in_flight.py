"""`CallsInFlight`, which starts calls and reports their results."""

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
    """The arrival times of the parts of a streamed response.

    Attributes:
        first_byte_s: The time of the first byte of the body, in seconds of the reactor's clock; `None` if the body is
            empty.
        gaps: The times between consecutive events.
        events: The number of events, or of pieces if the response is not a stream of server-sent events.
        tokens: The number of tokens in the answer of a language model; 0 for other responses.
    """

    first_byte_s: float | None
    gaps: CompactHistogram
    events: int
    tokens: int


@frozen
class EndedCall:
    """A call that has ended; times are seconds of the reactor's clock.

    Attributes:
        due_s: The time at which the call should have started: in an open loop the time in the schedule, in a
            closed loop `sent_s`.
        sent_s: The time at which the call was started.
        ended_s: The time at which the call ended.
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
        """The seconds from the due time of the call, or its start if that is earlier, to its end."""
        return self.ended_s - min(self.due_s, self.sent_s)

    @property
    def delay_s(self) -> float:
        """The lateness of the call: the seconds from its due time to its start, ≥ 0."""
        return max(0.0, self.sent_s - self.due_s)


class CallsInFlight:
    """Starts calls, and keeps a table of the calls that have not ended.

    Args:
        clock: The reactor.
        send: A function that starts a call and returns a Deferred. This fires with a `StreamTimes` or any other value,
            or fails with an `EasError`.
        on_ended: A function that is called with each call that has ended, except those that `cancel` has ended.
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
        """Return the seconds since the earliest due time of the calls in flight; 0 if there is none."""
        now_s = self._clock.seconds()
        return max((now_s - due_s for due_s, _ in self._running.values()), default=0.0)

    def start(self, due_s: float) -> Deferred[None]:
        """Start a call.

        Args:
            due_s: The time at which the call was due, in seconds of the reactor's clock.

        Returns:
            A Deferred that fires with `None` when the call has succeeded, or failed with an `EasError`. It fails with
            any other exception of the call.
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
