"""Draws schedules of faults: for each fault its kind, time, target, length and parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.virtual.faults.catalog import KINDS, Scope
from simulator.virtual.plan import PlannedFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from simulator.virtual.faults.catalog import CatalogEntry
    from simulator.virtual.plan import RunPlan

_LAST_S = 2.0
_CONSUMERS = 6
"""Exclusive upper bound of the consumer numbers; a world takes a number modulo the number of its consumers."""


def schedule(
    rng: Random, plan: RunPlan, kinds: Sequence[str], length_s: float, every_s: float
) -> tuple[PlannedFault, ...]:
    """Draw the faults of a period of time.

    Args:
        rng: Source of random draws.
        plan: Plan of the run.
        kinds: Names of the kinds; one is drawn for each fault.
        length_s: Length of the time in which faults may occur, in seconds.
        every_s: Mean time between two faults, in seconds.
    """
    steps: list[PlannedFault] = []
    at_s = 0.0
    while True:
        at_s += rng.expovariate(1 / every_s)
        if at_s > length_s - _LAST_S:
            return tuple(steps)
        name = rng.choice(kinds)
        kind = KINDS[name]
        longest_s = min(kind.lasts_s[1], length_s - at_s - 1.0)
        for_s = round(min(rng.uniform(*kind.lasts_s), longest_s), 3)
        steps.append(PlannedFault(round(at_s, 3), name, _where(rng, plan, kind), for_s, attributes(rng, kind)))


def _where(rng: Random, plan: RunPlan, kind: CatalogEntry) -> int:
    if kind.scope in (Scope.CONTROL, Scope.NAMES, Scope.GATEWAY):
        return -1
    if kind.scope is Scope.CONSUMER:
        return rng.randrange(_CONSUMERS)
    bound = {Scope.ZONE: plan.zones, Scope.CLIENT: plan.clients, Scope.INSIDE: plan.clients}.get(
        kind.scope, plan.instances
    )
    return rng.randrange(bound)


def attributes(rng: Random, kind: CatalogEntry, **fixed: Any) -> Mapping[str, Any]:
    """Draw the parameters of a fault kind; those in `fixed` get the given values."""
    drawn = {name: draw_one(rng) for name, draw_one in kind.draws.items()}
    return {**drawn, **{name: value for name, value in fixed.items() if name in drawn}}
