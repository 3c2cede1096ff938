"""`Record`, which updates the counters of a client and creates the events for its listeners.

`net` calls one method for each occurrence. The method increments the counters, then creates the event from the same
arguments, so that counters and events agree. Without a listener no event is created, because events take about 2 µs for
each call, and counters almost no time.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Protocol

from eas_tw.policy.outcomes import ANSWERED
from eas_tw.telemetry.contained import contain
from eas_tw.telemetry.counters import FORMER_KEPT, Counters
from eas_tw.telemetry.events import (
    AttemptEnded,
    BalancerFallback,
    CallEnded,
    Closed,
    Ejected,
    EjectionOverflow,
    FrameReceived,
    FramesCommitted,
    ListChanged,
    PollRefused,
    Returned,
    StreamEnded,
    WatchLost,
    WatchOpened,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eas_tw.policy.instance import Change, Instance
    from eas_tw.policy.outcomes import AttemptResult, Outcome
    from eas_tw.telemetry.contained import CallLater
    from eas_tw.telemetry.events import Event, Listener


class RecordedCall(Protocol):
    """The attributes of a call that `Record` reads.

    Attributes:
        history: The attempts that have ended without success.
    """

    history: tuple[AttemptResult, ...]

    @property
    def began(self) -> float:
        """The time at which the call began, in seconds of the reactor's clock."""


class RecordedAttempt(Protocol):
    """The attributes of an attempt that `Record` reads.

    Attributes:
        instance: The attempt's instance.
        began: The time at which the attempt began, in seconds of the reactor's clock.
        retry_of: The failed attempt that this attempt retries; `None` if it is not a retry.
        beside: The keys of the instances that already had the call when this attempt was sent as a hedge; empty if the
            attempt is not a hedge.
    """

    instance: Instance
    began: float
    retry_of: AttemptResult | None
    beside: tuple[tuple[str, int], ...]


class Record:
    """The counters and listeners of a client, with one method for each occurrence that is recorded.

    Args:
        seconds: The reactor's clock, in seconds; it is read only while there is a listener.
        later: The reactor's `callLater`.

    Attributes:
        counters: The counters.
        service: The service's name for the events.
        is_heard: Whether there is a listener.
    """

    def __init__(self, seconds: Callable[[], float], later: CallLater) -> None:
        self.counters = Counters()
        self.service = ""
        self._seconds = seconds
        self._later = later
        self._listeners: tuple[Listener, ...] = ()
        self.is_heard = False
        self._telling: list[tuple[Event, Iterator[Listener]]] = []
        self._lock = Lock()  # guards _listeners: listen() may be called on any thread

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on, and return a function that removes it."""
        with self._lock:
            self._set_listeners((*self._listeners, listener))

        def stop() -> None:
            with self._lock:
                self._set_listeners(tuple(other for other in self._listeners if other is not listener))

        return stop

    # -- calls

    def call_began(self) -> None:
        """Record that a call began."""
        self.counters.calls += 1

    def call_answered(self, call: RecordedCall, instance: Instance | None) -> None:
        """Record that a call ended with a response."""
        self.counters.answered += 1
        if self.is_heard:
            self._tell_call(call, "", instance)

    def call_failed(self, call: RecordedCall, error: str, instance: Instance | None) -> None:
        """Record that a call ended with an error.

        Args:
            call: The call.
            error: The name of the error's class.
            instance: The instance whose response was an error or could not be parsed; `None` if there was no response.
        """
        self.counters.failed[error] += 1
        if self.is_heard:
            self._tell_call(call, error, instance)

    # -- attempts

    def attempt_began(self, attempt: RecordedAttempt, address: str) -> None:
        """Record that an attempt began; `address` is the instance's address, which the caller has cached."""
        counters = self.counters
        counters.attempts[address] += 1
        before = attempt.retry_of
        if before is not None:
            counters.retries[before.outcome.label] += 1
            counters.failovers += before.instance.key != attempt.instance.key
        elif attempt.beside:
            counters.hedges += 1

    def attempt_answered(self, attempt: RecordedAttempt, call: RecordedCall) -> None:
        """Record that an attempt succeeded. No counter changes, so callers skip this method if `is_heard` is false."""
        if self.is_heard:
            self._tell_attempt(attempt, call, (attempt.instance, ANSWERED, self._seconds() - attempt.began))

    def attempt_failed(self, attempt: RecordedAttempt, call: RecordedCall, ended: AttemptResult) -> None:
        """Record that an attempt ended without success."""
        counters = self.counters
        counters.failures[ended.outcome.label] += 1
        counters.failures_at[ended.instance.address] += 1
        if self.is_heard:
            self._tell_attempt(attempt, call, ended)

    # -- streams

    def stream_began(self) -> None:
        """Record that the head of a stream was passed to the caller."""
        self.counters.streams += 1

    def stream_ended(self, instance: Instance, outcome: Outcome, received_bytes: int, elapsed_s: float) -> None:
        """Record that a stream ended.

        Args:
            instance: The instance that sent the stream.
            outcome: The outcome; `ANSWERED` if the body is complete.
            received_bytes: The number of bytes of the body that were received.
            elapsed_s: The seconds since the stream's attempt began.
        """
        if outcome is not ANSWERED:
            self.counters.streams_broken[outcome.label] += 1
        if self.is_heard:
            self._tell(StreamEnded(self.service, instance, outcome, received_bytes, elapsed_s))

    # -- watches of queues

    def watch_opened(self, instance: Instance, index: int, *, is_reconnect: bool) -> None:
        """Record that a watch was opened; `index` is the index of its first frame."""
        self.counters.watches += 1
        if self.is_heard:
            self._tell(WatchOpened(self.service, instance, index, is_reconnect))

    def watch_lost(self, instance: Instance | None, outcome: Outcome, retry_s: float) -> None:
        """Record that a watch was lost, or could not be opened, and is opened again after `retry_s` seconds."""
        self.counters.watches_lost[outcome.label] += 1
        if self.is_heard:
            self._tell(WatchLost(self.service, instance, outcome, retry_s))

    def frame_received(self, instance: Instance, index: int, *, is_repeated: bool) -> None:
        """Record that a watch received a frame."""
        if is_repeated:
            self.counters.frames_repeated += 1
        else:
            self.counters.frames += 1
        if self.is_heard:
            self._tell(FrameReceived(self.service, instance, index, is_repeated))

    def frames_committed(self, indexes: tuple[int, ...], error: str = "") -> None:
        """Record that frames were committed, or that their commit failed.

        Args:
            indexes: The indexes of the frames.
            error: The name of the error's class; empty if the frames were committed.
        """
        if error:
            self.counters.commits_failed += len(indexes)
        else:
            self.counters.commits += len(indexes)
        if self.is_heard:
            self._tell(FramesCommitted(self.service, indexes, error))

    # -- the fleet

    def ejected(self, instance: Instance, why: str) -> None:
        """Record that an instance was ejected; `why` is the reason, as in `Ejected`."""
        self.counters.ejections[instance.address] += 1
        if self.is_heard:
            self._tell(Ejected(self.service, instance, why))

    def returned(self, instance: Instance, why: str = "") -> None:
        """Record that an instance returned from an ejection."""
        if self.is_heard:
            self._tell(Returned(self.service, instance, why))

    def not_ejected(self, instance: Instance, why: str) -> None:
        """Record that an instance was not ejected, because too many instances are ejected already."""
        self.counters.ejections_overflow[instance.address] += 1
        if self.is_heard:
            self._tell(EjectionOverflow(self.service, instance, why))

    def balancer_fell_back(self, why: str) -> None:
        """Record that weighted round robin chose an instance instead of the program's own balancer.

        Args:
            why: A description of the balancer's error.
        """
        self.counters.balancer_fallbacks += 1
        if self.is_heard:
            self._tell(BalancerFallback(self.service, str(why)))

    def list_changed(self, changes: tuple[Change, ...], instances: Sequence[Instance] = ()) -> None:
        """Record that the list of instances was replaced.

        Args:
            changes: The differences to the previous list.
            instances: The new list.
        """
        counters = self.counters
        # The threshold is twice FORMER_KEPT, so that `fold`, which visits every address, does not run for each new
        # list.
        if len(counters.attempts) > len(instances) + 2 * FORMER_KEPT:
            counters.fold({instance.address for instance in instances})
        if self.is_heard:
            self._tell(ListChanged(self.service, changes))

    def poll_rejected(self, reason: str, error: str) -> None:
        """Record that a discovery reply was rejected."""
        if self.is_heard:
            self._tell(PollRefused(self.service, reason, error))

    def closed(self) -> None:
        """Record that the client is closed, and remove all listeners."""
        if self.is_heard:
            self._tell(Closed(self.service))
        with self._lock:
            self._set_listeners(())

    # -- listeners

    def _set_listeners(self, listeners: tuple[Listener, ...]) -> None:
        self._listeners = listeners
        self.is_heard = bool(listeners)

    def _tell_attempt(
        self, attempt: RecordedAttempt, call: RecordedCall, ended: tuple[Instance, Outcome, float]
    ) -> None:
        self._tell(AttemptEnded(self.service, *ended, call, attempt.retry_of, bool(attempt.beside)))

    def _tell_call(self, call: RecordedCall, error: str, instance: Instance | None) -> None:
        self._tell(CallEnded(self.service, self._seconds() - call.began, error, call.history, instance, call))

    def _tell(self, event: Event) -> None:
        """Call each listener with an event.

        A listener may cause a further event, for example by cancelling a call. The remaining listeners then receive the
        first event before the second, so that every listener receives the events in the order in which they happened.
        """
        telling = self._telling
        telling.append((event, iter(self._listeners)))
        try:
            for earlier, listeners in tuple(telling):
                self._tell_each(listeners, earlier)
        finally:
            telling.pop()

    def _tell_each(self, listeners: Iterator[Listener], event: Event) -> None:
        """Call the remaining listeners with an event, and log the exceptions that they raise."""
        for listener in listeners:
            try:
                listener(event)
            except BaseException:  # noqa: BLE001  a listener's exception must not end the call
                contain(self._later, "a listener failed on {event}", event=event)
