"""Bugs of calls that must not be done twice."""

from __future__ import annotations

from attrs import evolve

from eas_tw.net.call import Call
from eas_tw.policy import retry
from eas_tw.policy.outcomes import NEVER_SENT, Condition
from eas_tw.policy.retry import RetryPolicy
from tests.simulation.planted.bugs import Patch, bug


@bug("k")
def not_idempotent_and_tried_again(patch: Patch) -> None:
    refusal = RetryPolicy._refusal
    patch(
        RetryPolicy,
        "_refusal",
        lambda self, history, options: refusal(self, history, evolve(options, is_idempotent=True)),
    )


@bug("k", seeds=40)
def stale_taken_for_unsent(patch: Patch) -> None:
    """A connection that closed under the request may have brought it all the same."""
    patch(retry, "NEVER_SENT", NEVER_SENT | {Condition.STALE})


@bug("k", seeds=20)
def not_idempotent_and_hedged(patch: Patch) -> None:
    def plant(name: str) -> None:
        real = getattr(Call, name)

        def passed(self: Call) -> None:
            wanted, self._is_idempotent = self._is_idempotent, True
            real(self)
            self._is_idempotent = wanted

        patch(Call, name, passed)

    plant("mark_passed")
    plant("delay_passed")
