"""The event classes of a client, for listeners.

`telemetry.record` creates the events, and only while there is a listener. Outcomes have the names of
`policy.outcomes`; the adapters (OpenTelemetry, Prometheus) translate these names. No event contains the token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.policy.instance import Change, Instance
    from eas_tw.policy.outcomes import AttemptResult, Outcome

    Listener = Callable[["Event"], None]


@frozen
class CallEnded:
    """A call ended.

    Attributes:
        service: The service's name.
        elapsed_s: The seconds from `predict` to the end of the call.
        error: The name of the error's class; empty for a response.
        failed: The attempts that did not succeed.
        instance: The instance whose response ended the call; `None` if there was no response.
        call: An opaque object that is the same in all events of a call, so that listeners can group them.
    """

    service: str
    elapsed_s: float
    error: str
    failed: tuple[AttemptResult, ...]
    instance: Instance | None
    call: object = field(default=None, eq=False, repr=False)


@frozen
class AttemptEnded:
    """An attempt ended. A call that failed before an instance was chosen has no attempts.

    Attributes:
        service: The service's name.
        instance: The attempt's instance.
        outcome: The outcome of the attempt.
        elapsed_s: The duration of the attempt, in seconds.
        call: The same object as in `CallEnded`.
        retry_of: The failed attempt that this attempt retries; `None` for the first attempt of a call and for hedges.
        is_hedge: Whether the attempt is a hedge.
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
    """Discovery replaced the list of instances.

    Attributes:
        service: The service's name.
        changes: The differences to the previous list.
    """

    service: str
    changes: tuple[Change, ...]


@frozen
class Ejected:
    """An instance was ejected.

    Attributes:
        service: The service's name.
        instance: The instance.
        why: The reason of the ejection:

            1. the outcome of the last attempt, such as `connect_refused` or `status 500`;
            2. `silent`, if the instance sent nothing while other instances answered;
            3. `worse than the others`, for an outlier.
    """

    service: str
    instance: Instance
    why: str


@frozen
class StreamEnded:
    """A stream ended. Its `CallEnded` was sent earlier, when the caller received the head.

    Attributes:
        service: The service's name.
        instance: The instance that sent the stream.
        outcome: The outcome; `answered` if the body is complete, `cancelled` if the caller closed the stream.
        received_bytes: The number of bytes of the body that were received.
        elapsed_s: The seconds since the stream's attempt began.
    """

    service: str
    instance: Instance
    outcome: Outcome
    received_bytes: int
    elapsed_s: float


@frozen
class WatchOpened:
    """A watch of a queue was opened, for the first time or after a loss.

    Attributes:
        service: The service's name.
        instance: The instance, or the gateway, that sends the frames.
        index: The index of the first frame that was requested.
        is_reconnect: Whether the watch was open before.
    """

    service: str
    instance: Instance
    index: int
    is_reconnect: bool


@frozen
class WatchLost:
    """An open watch was lost, or a watch could not be opened; the client opens the watch again.

    Attributes:
        service: The service's name.
        instance: The instance, or the gateway; `None` if no instance could be chosen.
        outcome: The outcome of the request that opened the watch, or the way in which the connection was lost.
        retry_s: The pause before the watch is opened again, in seconds.
    """

    service: str
    instance: Instance | None
    outcome: Outcome
    retry_s: float


@frozen
class FrameReceived:
    """A watch received a frame.

    Attributes:
        service: The service's name.
        instance: The instance, or the gateway, that sent the frame.
        index: The frame's index.
        is_repeated: Whether the watch has received the frame before; a repeated frame is not passed to the reader.
    """

    service: str
    instance: Instance
    index: int
    is_repeated: bool


@frozen
class FramesCommitted:
    """Frames were committed, or their commit failed.

    Attributes:
        service: The service's name.
        indexes: The indexes of the frames, which were committed with one request.
        error: The name of the error's class; empty if the frames were committed.
    """

    service: str
    indexes: tuple[int, ...]
    error: str


@frozen
class EjectionOverflow:
    """An instance should have been ejected, but `max_ejected_ratio` of the list are ejected already.

    The event is sent again for the same instance only after the instance has answered successfully or has been ejected.

    Attributes:
        service: The service's name.
        instance: The instance.
        why: The reason, as in `Ejected`.
    """

    service: str
    instance: Instance
    why: str


@frozen
class Returned:
    """An instance that was ejected receives calls again.

    Attributes:
        service: The service's name.
        instance: The instance.
        why: The reason of the return:

            1. `answered`, or the status of the response to the probe;
            2. if the probe failed, a text that states that too many instances are ejected already.
    """

    service: str
    instance: Instance
    why: str = ""


@frozen
class BalancerFallback:
    """A program's own balancer proposed no instance that may be used; weighted round robin chose the instance.

    Attributes:
        service: The service's name.
        why: A description of the balancer's error.
    """

    service: str
    why: str


@frozen
class PollRefused:
    """A discovery reply was rejected, so the list did not change.

    Attributes:
        service: The service's name.
        reason: The value of the `RejectReason`.
        error: A description of the error.
    """

    service: str
    reason: str
    error: str


@frozen
class Closed:
    """The client is closed. This is the last event; the client removes its listeners afterwards."""

    service: str


Event = (
    CallEnded
    | AttemptEnded
    | StreamEnded
    | WatchOpened
    | WatchLost
    | FrameReceived
    | FramesCommitted
    | ListChanged
    | Ejected
    | EjectionOverflow
    | Returned
    | BalancerFallback
    | PollRefused
    | Closed
)
