"""What happens in a client, as values, for whoever listens.

Counters are always on and cost next to nothing; these are made only while somebody listens. Names follow the
vocabulary of `policy.outcomes`; adapters translate them (OpenTelemetry, Prometheus). A token is in none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.policy.instances import Change, Instance
    from eas_tw.policy.outcomes import Attempt, Outcome

    Listener = Callable[["Event"], None]

_log = Logger(namespace="eas_tw.telemetry")


@frozen
class CallEnded:
    """A call is over.

    Attributes:
        service: The service's name.
        elapsed_s: From `predict` to the end.
        error: The name of its error's class; empty for a response.
        failed: The attempts that did not end with a 200.
        instance: Who answered; `None` when nobody did.
        call: The same object in every event of a call, for those who put them together; nothing else is said of it.
    """

    service: str
    elapsed_s: float
    error: str
    failed: tuple[Attempt, ...]
    instance: Instance | None
    call: object = field(default=None, eq=False, repr=False)


@frozen
class AttemptEnded:
    """An attempt is over; every call has one or more. `call` is that of `CallEnded`."""

    service: str
    instance: Instance
    outcome: Outcome
    elapsed_s: float
    call: object = field(default=None, eq=False, repr=False)


@frozen
class ListChanged:
    """Discovery brought another list."""

    service: str
    changes: tuple[Change, ...]


@frozen
class Ejected:
    """An instance is left out for a while."""

    service: str
    instance: Instance
    why: str


@frozen
class Returned:
    """An instance takes part again after its probe."""

    service: str
    instance: Instance


@frozen
class PollRefused:
    """A discovery reply changed nothing, for a `Refusal`'s reason."""

    service: str
    reason: str
    error: str


Event = CallEnded | AttemptEnded | ListChanged | Ejected | Returned | PollRefused


class Feed:
    """Hands events to listeners.

    Attributes:
        service: The service's name, for the makers of events.
        is_heard: Whether anybody listens; nobody makes an event otherwise.
    """

    def __init__(self) -> None:
        self.service = ""
        self.is_heard = False
        self._listeners: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on; what is returned ends that."""
        self._listeners = (*self._listeners, listener)
        self.is_heard = True

        def stop() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)
            self.is_heard = bool(self._listeners)

        return stop

    def tell(self, event: Event) -> None:
        """An event happened. A listener that raises is logged, and harms nobody."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001  it is the listener's bug, not the call's
                _log.failure("a listener failed on {event}", event=event)
