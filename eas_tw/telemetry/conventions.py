"""Names and values of OpenTelemetry's HTTP client conventions, for the Prometheus and OpenTelemetry adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.policy.outcomes import AttemptStatus

if TYPE_CHECKING:
    from eas_tw.policy.outcomes import Outcome
    from eas_tw.telemetry.events import AttemptEnded

DURATION_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0,
)  # fmt: skip
"""The histogram bounds for `http.client.request.duration`, in seconds.

The conventions advise bounds from 5 ms to 10 s. This list is longer at both ends, because a small model answers in 1
ms, and a language model takes more than 10 s.
"""


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
OTHER_METHOD = "_OTHER"


def request_method(event: AttemptEnded) -> str:
    """Return the `http.request.method` of an attempt, `_OTHER` for a method that the conventions do not list."""
    request = getattr(event.call, "request", None)
    if request is None:  # the event has been pickled, or was made by a test
        return "POST"
    method: str = request.method.decode()
    return method if method in _METHODS else OTHER_METHOD


def error_type(outcome: Outcome) -> str:
    """Return the `error.type` of an attempt.

    Returns:
        1. The empty string, if the attempt was answered successfully.
        2. The HTTP status as text, if the response had an error status.
        3. The name of the attempt status otherwise.
    """
    return "" if outcome.attempt_status is AttemptStatus.ANSWERED else outcome.label
