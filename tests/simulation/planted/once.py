"""Bugs of calls that are not idempotent."""

from __future__ import annotations

from attrs import evolve

from eas_tw.net.call import Call
from eas_tw.policy import retry
from eas_tw.policy.outcomes import NEVER_SENT, AttemptStatus
from eas_tw.policy.retry import RetryPolicy
from tests.simulation.planted.bugs import Patch, bug


@bug("sent-once")
def not_idempotent_but_retried(patch: Patch) -> None:
    stop_reason = RetryPolicy._stop_reason
    patch(
        RetryPolicy,
        "_stop_reason",
        lambda self, history, options: stop_reason(self, history, evolve(options, is_idempotent=True)),
    )


@bug("sent-once", seeds=40)
def stale_taken_for_unsent(patch: Patch) -> None:
    """A request is sent again although its stale connection may have delivered it."""
    patch(retry, "NEVER_SENT", NEVER_SENT | {AttemptStatus.STALE})


@bug("sent-once", seeds=20)
def not_idempotent_but_hedged(patch: Patch) -> None:
    def plant(name: str) -> None:
        real = getattr(Call, name)

        def passed(self: Call) -> None:
            wanted, self._is_idempotent = self._is_idempotent, True
            real(self)
            self._is_idempotent = wanted

        patch(Call, name, passed)

    plant("hedge_point_passed")
    plant("delay_passed")
