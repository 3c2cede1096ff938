"""What happens in a client, as values, for whoever listens.

`record` makes them, only while somebody listens, of what it counts. Names follow the vocabulary of `policy.outcomes`;
adapters translate them (OpenTelemetry, Prometheus). A token is in none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.policy.instances import Change, Instance
    from eas_tw.policy.outcomes import AttemptResult, Outcome

    Listener = Callable[["Event"], None]


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
    failed: tuple[AttemptResult, ...]
    instance: Instance | None
    call: object = field(default=None, eq=False, repr=False)


@frozen
class AttemptEnded:
    """An attempt is over; a call has one or more, unless it ended before there was anywhere to go.

    Attributes:
        service: The service's name.
        instance: Where it went.
        outcome: How it ended.
        elapsed_s: How long it took.
        call: That of `CallEnded`.
        retry_of: The attempt that ended before and made this one necessary; `None` for the first of a call and for
            hedges.
        is_hedge: Whether it was sent beside another one that took long.
    """

    service: str
    instance: Instance
    outcome: Outcome
    elapsed_s: float
    call: object = field(default=None, eq=False, repr=False)
    retry_of: AttemptResult | None = None
    is_hedge: bool = False


@frozen
class ListChanged:
    """Discovery brought another list."""

    service: str
    changes: tuple[Change, ...]


@frozen
class Ejected:
    """An instance is left out for a while.

    Attributes:
        service: The service's name.
        instance: Which.
        why: The outcome that decided, as `connect_refused` or `status 500`; `silent` when it has said nothing while
            others answered; `worse than the others` for an outlier.
    """

    service: str
    instance: Instance
    why: str


@frozen
class StreamEnded:
    """A stream that was handed to a caller has ended; the end of its call was told with its head.

    Attributes:
        service: The service's name.
        instance: Whose response it was.
        outcome: `answered` if the body is whole; `cancelled` if its reader closed it.
        received_bytes: Of the body.
        elapsed_s: Since its attempt began, in seconds.
    """

    service: str
    instance: Instance
    outcome: Outcome
    received_bytes: int
    elapsed_s: float


@frozen
class EjectionOverflow:
    """An instance should be left out, and takes part, because `max_ejected_ratio` of the list are left out already.

    Told once, until it has answered well or is ejected after all.

    Attributes:
        service: The service's name.
        instance: Which.
        why: As in `Ejected`.
    """

    service: str
    instance: Instance
    why: str


@frozen
class Returned:
    """An instance that was ejected takes part again.

    Attributes:
        service: The service's name.
        instance: Which.
        why: `answered` or the status it answered with; after a probe that failed, that too many are left out already.
    """

    service: str
    instance: Instance
    why: str = ""


@frozen
class PollRefused:
    """A discovery reply changed nothing, for a `RejectReason`'s reason."""

    service: str
    reason: str
    error: str


@frozen
class Closed:
    """The client is closed: its last event, after which its listeners are forgotten."""

    service: str


Event = (
    CallEnded | AttemptEnded | StreamEnded | ListChanged | Ejected | EjectionOverflow | Returned | PollRefused | Closed
)
