"""Draws the parts of a plan that were added later, such as addresses, a second service, and faults of `LATER_KINDS`.

These parts have their own random stream, so that the other parts of the plan and its earlier faults stay the same.
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
"""Plans with this number of instances or more do not get these parts, because the parts have a cost per instance."""
_SELDOM = (1, 1, 1, 1, 1, 1, 1, 1, 1, 2)
_SERVICES = {"budget": (1, 2)}
"""Numbers of services to draw from, by profile. A second service tests the state that two clients share."""
_RESTARTS_S = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0)
_CHANGES = ("add", "replace", "replace_all")
_ON_THE_OTHER = ("unavailable", "limited", "error", "reset", "crash", "grey")


def with_surroundings(plan: RunPlan, rng: Random) -> RunPlan:
    """Return the plan with a random choice of the parts that were added later."""
    if plan.instances >= CROWD:
        return plan
    plan = plan.but(addresses=rng.choice(("ports", "hosts")), services=rng.choice(_SERVICES.get(plan.profile, _SELDOM)))
    if plan.profile in ("chaos", "discovery"):
        plan = plan.but(restarts_s=rng.choice(_RESTARTS_S))
    if plan.profile == "chaos":
        plan = _with_faults(plan, rng)
    if plan.profile == "budget" and plan.services > 1:
        # Calls of the second service need retries, which must not be charged to the budget of the first one.
        waves = schedule(rng, plan, ("unavailable",), plan.chaos_s, 3.0)
        plan = joined(plan, [PlannedFault(s.at_s, s.kind, s.where + plan.instances, s.for_s, s.with_) for s in waves])
    return plan


def joined(plan: RunPlan, steps: Iterable[PlannedFault]) -> RunPlan:
    """Return the plan with more faults."""
    return plan.but(steps=tuple(sorted([*plan.steps, *steps], key=lambda step: step.at_s)))


def _with_faults(plan: RunPlan, rng: Random) -> RunPlan:
    """Add faults of `LATER_KINDS` in four fifths of the plans, and faults of the second service."""
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
