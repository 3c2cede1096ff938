"""The one place that is told what happens in a client.

`net` says each thing once, in the past tense. Here it is counted, and made into an event if anybody listens, from the
same facts in the same breath: counters and events cannot disagree. When a listener hears an event, it has been counted.

An event costs a value or two, a count costs next to nothing; so while nobody listens, nothing but counting happens.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Protocol

from eas_tw.policy.outcomes import ANSWERED
from eas_tw.telemetry.contained import contain
from eas_tw.telemetry.counters import FORMER_KEPT, Counters
from eas_tw.telemetry.events import (
    AttemptEnded,
    CallEnded,
    Closed,
    Ejected,
    EjectionOverflow,
    ListChanged,
    PollRefused,
    Returned,
    StreamEnded,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eas_tw.policy.instances import Change, Instance
    from eas_tw.policy.outcomes import AttemptResult, Outcome
    from eas_tw.telemetry.contained import CallLater
    from eas_tw.telemetry.events import Event, Listener


class RecordedCall(Protocol):
    """A call, as far as it is told.

    Attributes:
        history: The attempts that have ended, without the answered one.
    """

    history: tuple[AttemptResult, ...]

    @property
    def began(self) -> float:
        """When, in the clock's seconds."""


class RecordedAttempt(Protocol):
    """An attempt, as far as it is told.

    Attributes:
        instance: Where it goes.
        began: When, in the clock's seconds.
        retry_of: The attempt before, if this is a retry.
        beside: The instances that had the call already when this one was sent as a hedge; empty otherwise.
    """

    instance: Instance
    began: float
    retry_of: AttemptResult | None
    beside: tuple[tuple[str, int], ...]


class Record:
    """Counts what happens, and tells those who listen.

    Args:
        seconds: The clock, asked only for those who listen.
        later: The reactor's `callLater`.

    Attributes:
        counters: What was counted so far.
        service: The service's name, as events have it.
        is_heard: Whether anybody listens.
    """

    def __init__(self, seconds: Callable[[], float], later: CallLater) -> None:
        self.counters = Counters()
        self.service = ""
        self._seconds = seconds
        self._later = later
        self._listeners: tuple[Listener, ...] = ()
        self.is_heard = False
        self._telling: list[tuple[Event, Iterator[Listener]]] = []
        self._lock = Lock()  # of the listeners, who may come from any thread

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on; what is returned ends that."""
        with self._lock:
            self._set_listeners((*self._listeners, listener))

        def stop() -> None:
            with self._lock:
                self._set_listeners(tuple(other for other in self._listeners if other is not listener))

        return stop

    # -- calls

    def call_began(self) -> None:
        """There is a call more."""
        self.counters.calls += 1

    def call_answered(self, call: RecordedCall, instance: Instance | None) -> None:
        """A call ended with a response."""
        self.counters.answered += 1
        if self.is_heard:
            self._tell_call(call, "", instance)

    def call_failed(self, call: RecordedCall, error: str, instance: Instance | None) -> None:
        """A call ended without one.

        Args:
            call: The call.
            error: The name of the error's class.
            instance: Who answered what could not be used; `None` when nobody did.
        """
        self.counters.failed[error] += 1
        if self.is_heard:
            self._tell_call(call, error, instance)

    # -- attempts

    def attempt_began(self, attempt: RecordedAttempt, address: str) -> None:
        """An attempt goes to its instance, whose address is at hand."""
        counters = self.counters
        counters.attempts[address] += 1
        before = attempt.retry_of
        if before is not None:
            counters.retries[before.outcome.label] += 1
            counters.failovers += before.instance.key != attempt.instance.key
        elif attempt.beside:
            counters.hedges += 1

    def attempt_answered(self, attempt: RecordedAttempt, call: RecordedCall) -> None:
        """An attempt ended with a success, which no counter counts; need not be called unless `is_heard`."""
        if self.is_heard:
            self._tell_attempt(attempt, call, (attempt.instance, ANSWERED, self._seconds() - attempt.began))

    def attempt_failed(self, attempt: RecordedAttempt, call: RecordedCall, ended: AttemptResult) -> None:
        """An attempt ended in another way."""
        counters = self.counters
        counters.failures[ended.outcome.label] += 1
        counters.failures_at[ended.instance.address] += 1
        if self.is_heard:
            self._tell_attempt(attempt, call, ended)

    # -- streams

    def stream_began(self) -> None:
        """The head of a stream was handed to the caller."""
        self.counters.streams += 1

    def stream_ended(self, instance: Instance, outcome: Outcome, received_bytes: int, elapsed_s: float) -> None:
        """A stream has ended; its outcome is `answered` if its body is whole."""
        if outcome is not ANSWERED:
            self.counters.streams_broken[outcome.label] += 1
        if self.is_heard:
            self._tell(StreamEnded(self.service, instance, outcome, received_bytes, elapsed_s))

    # -- the fleet

    def ejected(self, instance: Instance, why: str) -> None:
        """An instance is left out for a while."""
        self.counters.ejections[instance.address] += 1
        if self.is_heard:
            self._tell(Ejected(self.service, instance, why))

    def returned(self, instance: Instance, why: str = "") -> None:
        """An instance takes part again."""
        if self.is_heard:
            self._tell(Returned(self.service, instance, why))

    def not_ejected(self, instance: Instance, why: str) -> None:
        """An instance should be left out, and is not, because too many are already."""
        self.counters.ejections_overflow[instance.address] += 1
        if self.is_heard:
            self._tell(EjectionOverflow(self.service, instance, why))

    def list_changed(self, changes: tuple[Change, ...], instances: Sequence[Instance] = ()) -> None:
        """Another list is in force.

        Args:
            changes: What changed.
            instances: The list.
        """
        counters = self.counters
        if len(counters.attempts) > len(instances) + 2 * FORMER_KEPT:  # twice, so that it is folded now and then only
            counters.fold({instance.address for instance in instances})
        if self.is_heard:
            self._tell(ListChanged(self.service, changes))

    def poll_rejected(self, reason: str, error: str) -> None:
        """A discovery reply changed nothing."""
        if self.is_heard:
            self._tell(PollRefused(self.service, reason, error))

    def closed(self) -> None:
        """The client is closed: nothing more will happen, and who listened is let go."""
        if self.is_heard:
            self._tell(Closed(self.service))
        with self._lock:
            self._set_listeners(())

    # -- how it tells

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

        A listener may make the next event, as by cancelling a call. Those that have not heard the first one hear it
        before the second: every listener hears events in the order in which they happened.
        """
        telling = self._telling
        telling.append((event, iter(self._listeners)))
        try:
            for earlier, listeners in tuple(telling):
                self._tell_each(listeners, earlier)
        finally:
            telling.pop()

    def _tell_each(self, listeners: Iterator[Listener], event: Event) -> None:
        """Call them. What one raises is logged: it is the listener's bug, not the call's."""
        for listener in listeners:
            try:
                listener(event)
            except BaseException:  # noqa: BLE001  the call goes on whatever is raised
                contain(self._later, "a listener failed on {event}", event=event)
