"""Bugs of balancing by key, and of the calls to and from a program's own balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.policy.guarded import GuardedBalancer
from eas_tw.policy.hash_balancer import HashBalancer
from eas_tw.policy.instances import Instance
from tests.simulation.planted.bugs import Patch, bug

if TYPE_CHECKING:
    from eas_tw.policy.balancing import CallInfo


@bug("key-affinity", seeds=20)
def key_ignored(patch: Patch) -> None:
    """The instance of a call with a key is chosen by round robin."""
    patch(HashBalancer, "choose", lambda self, call, excluded: self._rotation.choose(call, excluded))


@bug("balancer-notified", seeds=20)
def own_balancer_not_notified_of_failed_attempts(patch: Patch) -> None:
    ended = GuardedBalancer.ended

    def of_answers(self: GuardedBalancer, instance: Any, call: CallInfo, outcome: Any, elapsed_s: float) -> None:
        if outcome.attempt_status == "answered":
            ended(self, instance, call, outcome, elapsed_s)

    patch(GuardedBalancer, "ended", of_answers)


@bug("last-good-list one-probe attempts-within-limit", seeds=20)
def proposal_of_an_own_balancer_not_checked(patch: Patch) -> None:
    choose = GuardedBalancer.choose

    def trusting(self: GuardedBalancer, call: CallInfo, excluded: Any) -> Any:
        try:
            proposed = self._inner.choose(call, excluded)
        except BaseException:  # noqa: BLE001  the balancer `Hostile` raises any exception
            proposed = None
        return proposed if isinstance(proposed, Instance) else choose(self, call, excluded)

    patch(GuardedBalancer, "choose", trusting)
