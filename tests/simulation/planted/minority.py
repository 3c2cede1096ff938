"""Bugs that lose or delay calls while most instances of a fleet are dead."""

from __future__ import annotations

from typing import Any

from eas_tw.net.upstream import Upstream
from eas_tw.policy.cluster import Cluster
from eas_tw.policy.health import Health
from eas_tw.policy.hedging import Hedging
from eas_tw.policy.retry import RetryPolicy
from tests.simulation.planted.bugs import Patch, bug


@bug("no-call-lost ejected-at-once", "minority", 20)
def ejection_bound_applied_to_dead_instances(patch: Patch) -> None:
    eject = Health._eject
    patch(Health, "_eject", lambda self, record, now, *, is_certain: eject(self, record, now, is_certain=False))


@bug("failure-explained no-call-lost", "minority", 20)
def unsent_attempts_use_up_attempts(patch: Patch) -> None:
    def stop_reason(self: RetryPolicy, history: Any, options: Any) -> str:
        if len(history) >= self.attempts:
            return "was the last"
        return real(self, history, options)

    real = RetryPolicy._stop_reason
    patch(RetryPolicy, "_stop_reason", stop_reason)


@bug("no-call-lost", "minority", 20)
def silence_detected_only_at_half_of_the_deadline(patch: Patch) -> None:
    patch(Hedging, "is_silence", lambda self, waited_s, elapsed_s, timeout_s: False)


@bug("no-call-lost", "minority", 20)
def silent_instances_not_suspected(patch: Patch) -> None:
    patch(Cluster, "suspect", lambda self, instance, began, now: None)


@bug("failure-explained no-call-lost", "minority", 20)
def dead_instances_are_no_last_resort(patch: Patch) -> None:
    patch(Cluster, "_last_resort", lambda self, selection, now: None)


@bug("one-probe no-call-lost", "minority", 20)
def overdue_attempt_closed_with_its_call(patch: Patch) -> None:
    """The client does not record the silence of an attempt that ends with its call, so the instance gets more calls."""
    patch(Upstream, "watch", lambda self, attempt, timeout_s: None)
