"""The outcomes of an attempt.

`net` determines the outcome, `retry` and `health` base their decisions on it, and errors and counters show it. For a
new kind of failure, add a member to `AttemptStatus`.
"""

from __future__ import annotations

import warnings
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from eas_tw.deprecated_names import deprecated_names

if TYPE_CHECKING:
    from eas_tw.policy.instance import Instance

OK_STATUS = 200
SUCCESSES = range(200, 300)
"""Statuses of a successful response (RFC 9110 §15.3)."""


class AttemptStatus(StrEnum):
    """The way in which an attempt ended."""

    ANSWERED = "answered"
    """A complete response with a status from 200 to 299; for a stream, its head."""
    STATUS = "status"
    """A complete response with any other status, which is in `Outcome.status`."""
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    """No connection for a reason without a status of its own, such as an unknown name or an unreachable host."""
    LOCAL_RESOURCE = "local_resource"
    """No connection because this machine lacks file descriptors, ports, memory or a route.

    This status does not count against the instance, since every instance would be affected.
    """
    STALE = "stale"
    """A reused connection turned out to be closed after the request was sent; no byte of a response arrived.

    This status does not count against the instance, since servers may close idle connections at any time (RFC 9112
    §9.3.1).
    """
    UNSENT = "unsent"
    """A reused connection turned out to be closed before the request was sent."""
    LOST = "lost"
    """A connection opened for this attempt was lost before the first byte of the response."""
    RESPONSE_TRUNCATED = "cut"
    """The connection was lost after a part of the response had arrived."""
    ATTEMPT_TIMEOUT = "attempt_timeout"
    """The attempt took longer than `attempt_timeout_s`."""
    UNRESPONSIVE = "late"
    """The instance sent nothing for far longer than responses take, and a later attempt answered the call."""
    QUEUE_TIMEOUT = "waited"
    """The attempt's timeout or the call's deadline passed in the pool's queue; nothing was sent."""
    INSTANCE_REMOVED = "retired"
    """The instance left the list while the call waited in its pool's queue; nothing was sent."""
    OVERLOADED = "overloaded"
    """The pool's queue is full, or the expected wait in it exceeds the time to the deadline; nothing was sent."""
    VIOLATION = "violation"
    """The response is not the HTTP/1.1 that this client accepts, or exceeds a size limit."""
    DEADLINE = "deadline"
    """The call's deadline passed during the attempt."""
    CANCELLED = "cancelled"
    """The caller cancelled the call, or the client was closed."""

    # Deprecated names, kept for one release.
    CUT = RESPONSE_TRUNCATED
    WAITED = QUEUE_TIMEOUT
    RETIRED = INSTANCE_REMOVED
    LATE = UNRESPONSIVE


NEVER_SENT = frozenset(
    {
        AttemptStatus.CONNECT_REFUSED,
        AttemptStatus.CONNECT_TIMEOUT,
        AttemptStatus.CONNECT_FAILED,
        AttemptStatus.LOCAL_RESOURCE,
        AttemptStatus.UNSENT,
        AttemptStatus.INSTANCE_REMOVED,
        AttemptStatus.QUEUE_TIMEOUT,
        AttemptStatus.OVERLOADED,
    }
)
"""Statuses that prove that no byte of the request reached the instance."""

NOT_ITS_FAULT = frozenset({AttemptStatus.STALE, AttemptStatus.UNSENT})
"""Statuses of reused connections only: the instance has not failed, and a new connection may work."""

CONNECT_FAILURES = frozenset(
    {AttemptStatus.CONNECT_REFUSED, AttemptStatus.CONNECT_TIMEOUT, AttemptStatus.CONNECT_FAILED}
)


class Outcome(NamedTuple):
    """The end of an attempt; as a string `connect_refused`, or `status 503` for a response with an error status.

    Attributes:
        attempt_status: How the attempt ended, by name.
        status: The response's HTTP status; 0 when there was none.
        detail: A phrase for logs and errors; it never contains a token or a body.
        retry_after_s: The response's `Retry-After` in seconds; `None` when the response had no such field.
    """

    attempt_status: AttemptStatus
    status: int = 0
    detail: str = ""
    retry_after_s: float | None = None

    @property
    def condition(self) -> AttemptStatus:
        """Deprecated alias of `attempt_status`."""
        warnings.warn("Outcome.condition is deprecated: use Outcome.attempt_status", DeprecationWarning, stacklevel=2)
        return self.attempt_status

    @property
    def label(self) -> str:
        """The HTTP status of an error response, otherwise the attempt status; the name in counters and metrics."""
        return str(self.status) if self.attempt_status is AttemptStatus.STATUS else self.attempt_status.value

    def __str__(self) -> str:
        if self.attempt_status is AttemptStatus.STATUS:
            return f"status {self.status}"
        return f"{self.attempt_status} ({self.detail})" if self.detail else str(self.attempt_status)


ANSWERED = Outcome(AttemptStatus.ANSWERED, OK_STATUS)


class AttemptResult(NamedTuple):
    """The result of an attempt: its instance, its outcome, and the elapsed time in seconds."""

    instance: Instance
    outcome: Outcome
    elapsed_s: float

    def __str__(self) -> str:
        return f"{self.instance.address} {self.outcome} after {self.elapsed_s:.3f} s"


if not TYPE_CHECKING:
    __getattr__ = deprecated_names(__name__, {"Attempt": "AttemptResult", "Condition": "AttemptStatus"})
