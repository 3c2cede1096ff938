"""The words OpenTelemetry's HTTP client conventions have for what happens, shared by the adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.policy.outcomes import AttemptStatus

if TYPE_CHECKING:
    from eas_tw.policy.outcomes import Outcome

DURATION_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0,
)  # fmt: skip
"""The bounds that the conventions advise for `http.client.request.duration`, and more at both ends.

A small model answers in 1 ms, below the least of the advised bounds; a language model takes longer than the greatest,
10 s.
"""


def error_type(outcome: Outcome) -> str:
    """The `error.type` of an attempt: the status as text when there was one, else a word; empty for none."""
    return "" if outcome.attempt_status is AttemptStatus.ANSWERED else outcome.label
