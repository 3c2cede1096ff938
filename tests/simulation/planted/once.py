"""Bugs of calls that must not be done twice."""

from __future__ import annotations

from attrs import evolve

from eas_tw.net.call import Call
from eas_tw.policy import retry
from eas_tw.policy.outcomes import NEVER_SENT, AttemptStatus
from eas_tw.policy.retry import RetryPolicy
from tests.simulation.planted.bugs import Patch, bug


@bug("sent-once")
def not_idempotent_and_tried_again(patch: Patch) -> None:
    stop_reason = RetryPolicy._stop_reason
    patch(
        RetryPolicy,
        "_stop_reason",
        lambda self, history, options: stop_reason(self, history, evolve(options, is_idempotent=True)),
    )


@bug("sent-once", seeds=40)
def stale_taken_for_unsent(patch: Patch) -> None:
    """A connection that closed under the request may have brought it all the same."""
    patch(retry, "NEVER_SENT", NEVER_SENT | {AttemptStatus.STALE})


@bug("sent-once", seeds=20)
def not_idempotent_and_hedged(patch: Patch) -> None:
    def plant(name: str) -> None:
        real = getattr(Call, name)

        def passed(self: Call) -> None:
            wanted, self._is_idempotent = self._is_idempotent, True
            real(self)
            self._is_idempotent = wanted

        patch(Call, name, passed)

    plant("hedge_point_passed")
    plant("delay_passed")
