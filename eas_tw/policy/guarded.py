"""A wrapper of a program's own balancer that chooses an eligible instance, whatever the balancer returns or raises."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from eas_tw.policy.instance import Instance
from eas_tw.policy.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from random import Random

    from eas_tw.policy.balancing import Balancer, CallInfo
    from eas_tw.policy.outcomes import Outcome

    OnFault = Callable[["BalancerFault", BaseException | None], None]

Key = tuple[str, int]


class BalancerFault(StrEnum):
    """The kinds of fault of a program's balancer; the values complete a log message."""

    RAISED = "raised an exception in choose"
    NONE = "proposed no instance"
    NO_INSTANCE = "proposed an object that is no Instance"
    NOT_ELIGIBLE = "proposed an instance that is ejected, filtered out, or not in the list"
    EXCLUDED = "proposed an excluded instance"
    LISTENER_RAISED = "raised an exception in update, started, streaming or ended"

    @property
    def is_fallback(self) -> bool:
        """Whether the fault made weighted round robin choose the instance."""
        return self is not BalancerFault.LISTENER_RAISED


class GuardedBalancer:
    """A `Balancer` around a program's own balancer, with weighted round robin as its fallback.

    Args:
        inner: The program's balancer.
        rng: The generator of random numbers for the phases of the round robin.
        on_fault: A function that is called with the fault, and the exception that the balancer raised, or `None`. A
            fault in `choose` is reported only if the fallback found an instance that the balancer could have proposed.
    """

    def __init__(self, inner: Balancer, rng: Random, on_fault: OnFault) -> None:
        self._inner = inner
        self._fallback = Rotation(rng)
        self._eligible: dict[Key, Instance] = {}
        self._on_fault = on_fault

    def update(self, instances: Sequence[Instance]) -> None:
        """Pass the list to the balancer, and store it for the checks of `choose`."""
        self._fallback.update(instances)
        self._eligible = {instance.key: instance for instance in instances}
        self._notify("update", tuple(instances))

    def choose(self, call: CallInfo, excluded: Collection[Instance]) -> Instance | None:
        """Return the balancer's choice if it is allowed, otherwise the choice of weighted round robin."""
        error = None
        try:
            proposed = self._inner.choose(call, excluded)
            if isinstance(proposed, Instance):
                known = self._eligible.get(proposed.key)
                if known is not None and known not in excluded:
                    return known
                fault = BalancerFault.NOT_ELIGIBLE if known is None else BalancerFault.EXCLUDED
            else:
                fault = BalancerFault.NONE if proposed is None else BalancerFault.NO_INSTANCE
        except BaseException as raised:  # noqa: BLE001  an exception in the program's code must not fail the call
            fault, error = BalancerFault.RAISED, raised
        picked = self._fallback.choose(call, excluded)
        if picked is not None:
            self._on_fault(fault, error)
        return picked

    def started(self, instance: Instance, call: CallInfo) -> None:
        """Forward the start of an attempt to the balancer."""
        self._notify("started", instance, call)

    def streaming(self, instance: Instance, call: CallInfo, elapsed_s: float) -> None:
        """Forward the arrival of a stream's head to the balancer."""
        self._notify("streaming", instance, call, elapsed_s)

    def ended(self, instance: Instance, call: CallInfo, outcome: Outcome, elapsed_s: float) -> None:
        """Forward the end of an attempt to the balancer."""
        self._notify("ended", instance, call, outcome, elapsed_s)

    def _notify(self, name: str, *values: Any) -> None:
        try:
            method = getattr(self._inner, name, None)
            if method is not None:
                method(*values)
        except BaseException as raised:  # noqa: BLE001  an exception in the program's code must not fail the call
            self._on_fault(BalancerFault.LISTENER_RAISED, raised)
