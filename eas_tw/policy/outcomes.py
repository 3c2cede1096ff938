"""The one vocabulary of what can happen to an attempt.

`net` observes and names; `retry` and `health` decide by the name; errors and counters show it. A new way to fail is
a new line here and nowhere a second spelling.
"""

from __future__ import annotations

import warnings
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from eas_tw.deprecated_names import deprecated_names

if TYPE_CHECKING:
    from eas_tw.policy.instances import Instance

OK_STATUS = 200
SUCCESSES = range(200, 300)
"""Statuses of a response that is an answer (RFC 9110 §15.3)."""


class AttemptStatus(StrEnum):
    """How an attempt ended."""

    ANSWERED = "answered"
    """A whole response with a status from 200 to 299; of a stream its head."""
    STATUS = "status"
    """A whole response with any other status; `Outcome.status` has it."""
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    """No connection for another reason, such as no such name or a host that does not answer."""
    LOCAL_RESOURCE = "local_resource"
    """No connection because this machine lacks file descriptors, ports, memory or a route. It says nothing about the
    instance."""
    STALE = "stale"
    """A pooled connection turned out closed under a fresh request, and no byte of a response came on it. It says
    nothing about the instance, since servers close idle connections whenever they like (RFC 9112 §9.3.1)."""
    UNSENT = "unsent"
    """Like `stale`, before the request had left; the instance has not seen it."""
    LOST = "lost"
    """A connection opened for this attempt was lost before the first byte of the response."""
    RESPONSE_TRUNCATED = "cut"
    """The connection was lost inside the response."""
    ATTEMPT_TIMEOUT = "attempt_timeout"
    """`attempt_timeout_s` passed."""
    UNRESPONSIVE = "late"
    """It was silent for far longer than answers take, and an instance that was asked later has answered the call."""
    QUEUE_TIMEOUT = "waited"
    """The attempt's or the call's time passed in the line for a connection; nothing was sent."""
    INSTANCE_REMOVED = "retired"
    """The instance left the list while the call still waited for a connection; nothing was sent."""
    OVERLOADED = "overloaded"
    """Too many calls wait for the instance's connections, or for longer than the call has; nothing was sent."""
    VIOLATION = "violation"
    """Not the HTTP/1.1 this client accepts, or more of it than it accepts."""
    DEADLINE = "deadline"
    """The call's deadline passed during the attempt."""
    CANCELLED = "cancelled"
    """The caller gave up, or the client was closed."""

    # Deprecated names of four of them, for one release.
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
"""Statuses under which no byte of the request can have reached the instance."""

NOT_ITS_FAULT = frozenset({AttemptStatus.STALE, AttemptStatus.UNSENT})
"""Statuses of a kept connection only: the instance has not failed, and a new connection to it may do."""

CONNECT_FAILURES = frozenset(
    {AttemptStatus.CONNECT_REFUSED, AttemptStatus.CONNECT_TIMEOUT, AttemptStatus.CONNECT_FAILED}
)


class Outcome(NamedTuple):
    """What happened to an attempt; reads as `connect_refused`, or `status 503` when a response came.

    Attributes:
        attempt_status: The name of what happened.
        status: The response's HTTP status, 0 when there was none.
        detail: One phrase for people; never a token, never a body.
        retry_after_s: What the response's `Retry-After` asked for, in seconds; `None` when it did not.
    """

    attempt_status: AttemptStatus
    status: int = 0
    detail: str = ""
    retry_after_s: float | None = None

    @property
    def condition(self) -> AttemptStatus:
        """`attempt_status`, under its older name; deprecated."""
        warnings.warn("Outcome.condition is deprecated: use Outcome.attempt_status", DeprecationWarning, stacklevel=2)
        return self.attempt_status

    @property
    def label(self) -> str:
        """Its name in counters and metrics, which is the status where there is one, and the condition otherwise."""
        return str(self.status) if self.attempt_status is AttemptStatus.STATUS else self.attempt_status.value

    def __str__(self) -> str:
        if self.attempt_status is AttemptStatus.STATUS:
            return f"status {self.status}"
        return f"{self.attempt_status} ({self.detail})" if self.detail else str(self.attempt_status)


ANSWERED = Outcome(AttemptStatus.ANSWERED, OK_STATUS)


class AttemptResult(NamedTuple):
    """One try of a call: where it went, how it ended, how long it took in seconds."""

    instance: Instance
    outcome: Outcome
    elapsed_s: float

    def __str__(self) -> str:
        return f"{self.instance.address} {self.outcome} after {self.elapsed_s:.3f} s"


if not TYPE_CHECKING:
    __getattr__ = deprecated_names(__name__, {"Attempt": "AttemptResult", "Condition": "AttemptStatus"})
