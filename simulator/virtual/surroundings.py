"""Draws the parts of a plan that were added later, from their own random stream.

The world and the faults of a seed therefore stay as they were, and these parts are added: addresses of instances, a
second service, faults inside the clients' processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.virtual.faults.catalog import LATER_KINDS
from simulator.virtual.faults.schedule import schedule
from simulator.virtual.plan import PlannedFault

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from simulator.virtual.plan import RunPlan

CROWD = 100
"""Number of instances from which on parts with a cost per instance are not drawn."""
_SELDOM = (1, 1, 1, 1, 1, 1, 1, 1, 1, 2)
_SERVICES = {"budget": (1, 2)}
"""Numbers of services to draw from, by profile; a second one costs CPU, and tests what two clients share."""
_RESTARTS_S = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0)
_CHANGES = ("add", "replace", "replace_all")
_ON_THE_OTHER = ("unavailable", "limited", "error", "reset", "crash", "grey")


def with_surroundings(plan: RunPlan, rng: Random) -> RunPlan:
    """Return the plan with the parts that were added later."""
    if plan.instances >= CROWD:
        return plan
    plan = plan.but(addresses=rng.choice(("ports", "hosts")), services=rng.choice(_SERVICES.get(plan.profile, _SELDOM)))
    if plan.profile in ("chaos", "discovery"):
        plan = plan.but(restarts_s=rng.choice(_RESTARTS_S))
    if plan.profile == "chaos":
        plan = _with_faults(plan, rng)
    if plan.profile == "budget" and plan.services > 1:
        # The second service needs retries, and they must not be charged to the first service's budget.
        waves = schedule(rng, plan, ("unavailable",), plan.chaos_s, 3.0)
        plan = joined(plan, [PlannedFault(s.at_s, s.kind, s.where + plan.instances, s.for_s, s.with_) for s in waves])
    return plan


def joined(plan: RunPlan, steps: Iterable[PlannedFault]) -> RunPlan:
    """Return the plan with more faults."""
    return plan.but(steps=tuple(sorted([*plan.steps, *steps], key=lambda step: step.at_s)))


def _with_faults(plan: RunPlan, rng: Random) -> RunPlan:
    """Add faults of the kinds that were added later, in two thirds of the plans."""
    steps: list[PlannedFault] = []
    kinds = rng.sample(list(LATER_KINDS), rng.choice((0, 1, 2, 3, 4)))
    if kinds:
        later = schedule(rng, plan, kinds, plan.chaos_s, rng.choice((10.0, 20.0, 40.0)))
        # A client applies a list only when the list changes, so each `apply_raises` gets a change of the fleet.
        changes = [
            PlannedFault(step.at_s, rng.choice(_CHANGES), step.where) for step in later if step.kind == "apply_raises"
        ]
        steps += [*later, *changes]
    if plan.services > 1:
        other = schedule(rng, plan, rng.sample(_ON_THE_OTHER, 2), plan.chaos_s, 20.0)
        steps += [PlannedFault(s.at_s, s.kind, s.where + plan.instances, s.for_s, s.with_) for s in other]
    return joined(plan, steps)
