"""Draws schedules: which faults of given kinds strike, when, where, for how long and with what."""

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


def schedule(
    rng: Random, plan: RunPlan, kinds: Sequence[str], length_s: float, every_s: float
) -> tuple[PlannedFault, ...]:
    """Faults of some kinds over a time.

    Args:
        rng: Source of random draws.
        plan: Of the world they strike.
        kinds: Names, one of which is drawn for each fault.
        length_s: How long faults may last.
        every_s: Mean time between two.
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
    bound = {Scope.ZONE: plan.zones, Scope.CLIENT: plan.clients, Scope.INSIDE: plan.clients}.get(
        kind.scope, plan.instances
    )
    return rng.randrange(bound)


def attributes(rng: Random, kind: CatalogEntry, **fixed: Any) -> Mapping[str, Any]:
    """What a fault of a kind is drawn with, but for what is fixed."""
    drawn = {name: draw_one(rng) for name, draw_one in kind.draws.items()}
    return {**drawn, **{name: value for name, value in fixed.items() if name in drawn}}
