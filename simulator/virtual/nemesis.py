"""The nemesis: draws the plan of a run (size of the world, schedule of faults) from its seed and profile.

It uses swarm testing: each seed gets a few fault kinds, not all, because faults can hide each other.
"""

from __future__ import annotations

from random import Random
from typing import Any

from simulator.virtual.checkers.minority import deaths
from simulator.virtual.faults.catalog import FIRST_KINDS, KINDS, ON_CONTROL, Scope
from simulator.virtual.faults.schedule import attributes, schedule
from simulator.virtual.options import with_options
from simulator.virtual.plan import PROFILES, PlannedFault, RunPlan
from simulator.virtual.surroundings import with_surroundings
from simulator.virtual.world_options import with_world_options

DEFAULT_HOURS = 0.1
_WAVE_S = 10.0


def draw(seed: int, profile: str = "chaos", hours: float = DEFAULT_HOURS, *, later: bool = True) -> RunPlan:
    """Draw the plan of a seed.

    Args:
        seed: Any integer.
        profile: One of `PROFILES`.
        hours: Approximate length of the run, in virtual hours; faults may begin in two thirds of it.
        later: Whether to draw the parts that were added later (`surroundings` and `world_options`).
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    rng = Random(f"{seed}/nemesis/{profile}")
    plan = _DRAWERS[profile](seed, rng, max(20.0, hours * 3600 * 2 / 3))
    if profile == "minority":
        # No options are drawn for this profile, because most programs use the default settings.
        return plan.but(is_heard=True)
    plan = with_options(plan, Random(f"{seed}/options/{profile}"))
    return with_world_options(with_surroundings(plan, Random(f"{seed}/surroundings/{profile}"))) if later else plan


def _calm(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan without faults, in which shares are exact and no call is retried."""
    return _world(seed, "calm", rng, length_s)


def _chaos(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan with faults of any kinds."""
    plan = _world(seed, "chaos", rng, length_s)
    names = list(FIRST_KINDS)
    kinds = rng.sample(names, rng.randint(2, 9))
    return plan.but(steps=schedule(rng, plan, kinds, length_s, rng.choice((8.0, 20.0, 40.0))))


def _discovery(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan with faults of discovery and a changing fleet, and without faults of instances."""
    plan = _world(seed, "discovery", rng, length_s, poll_interval_s=rng.choice((1.0, 2.0, 5.0)))
    kinds = [
        *rng.sample(list(ON_CONTROL), 6),
        *rng.sample(("add", "replace", "reweigh", "remove", "replace_all"), 2),
    ]
    return plan.but(steps=schedule(rng, plan, kinds, length_s, 8.0))


def _rolling(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan of rolling upgrades: every instance is replaced, one after the other, repeatedly."""
    plan = _world(seed, "rolling", rng, length_s, instances=rng.randint(2, 8), poll_interval_s=rng.choice((1.0, 2.0)))
    every_s = rng.choice((4.0, 8.0, 15.0))
    steps = [PlannedFault(round(at * every_s, 3), "replace", 0) for at in range(1, int(length_s / every_s))]
    extra = schedule(rng, plan, rng.sample(("reweigh", "add", "crash", "idle_fin", "list_late"), 2), length_s, 20.0)
    return plan.but(steps=tuple(sorted([*steps, *extra], key=lambda step: step.at_s)))


def _overload(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan with more calls than connections and workers, so that queues fill and instances respond 450."""
    plan = _world(
        seed,
        "overload",
        rng,
        length_s / 4,
        instances=rng.randint(2, 4),
        max_connections_per_instance=rng.choice((1, 2, 8)),
        timeout_s=2.0,
    )
    plan = plan.but(
        per_s=rng.choice((20.0, 60.0)), burst=rng.choice((1, 10)), work_s=rng.choice((0.02, 0.1)), large=0.0
    )
    kinds = ["burst", *rng.sample(("unavailable", "limited", "grey", "crash", "slow_work", "narrow"), 3)]
    return plan.but(steps=schedule(rng, plan, kinds, length_s / 4, 8.0))


def _big(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan with 1,000 instances and 100 clients, to measure load balance and the cost of discovery."""
    plan = _world(seed, "big", rng, length_s / 4, instances=1000, eject_max_s=5.0, eject_base_s=2.0).but(
        weights=(), clients=100, per_s=2.0, large=0.0
    )
    kinds = rng.sample(("crash", "zone_loss", "replace", "list_empty", "list_stale", "reset"), 3)
    return plan.but(steps=schedule(rng, plan, kinds, length_s / 4, 5.0))


def _storm(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan in which the whole fleet fails under load and recovers, to measure the amplification by retries."""
    plan = _world(seed, "storm", rng, length_s / 3, instances=5, timeout_s=2.0).but(per_s=50.0, work_s=0.01, large=0.0)
    kind = rng.choice(("error", "unavailable", "grey", "zone_loss", "reset", "hang"))
    outage_s = round(length_s / 12, 3)
    every = range(3) if KINDS[kind].scope is Scope.ZONE else range(5)
    steps = tuple(
        PlannedFault(5.0, kind, where, outage_s, attributes(rng, KINDS[kind], probability=1.0)) for where in every
    )
    return plan.but(steps=steps)


def _minority(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan with default settings in which some instances of a small fleet are dead, or all until one returns."""
    chaos_s = round(max(30.0, length_s / 2), 3)
    plan = RunPlan(
        seed=seed,
        profile="minority",
        chaos_s=chaos_s,
        instances=rng.randint(2, 9),
        per_s=rng.choice((10.0, 20.0, 50.0)),
        has_token=False,
        work_s=rng.choice((0.0, 0.005)),
    )
    return plan.but(steps=tuple(PlannedFault(*drawn) for drawn in deaths(rng, plan.instances, chaos_s)))


def _budget(seed: int, rng: Random, length_s: float) -> RunPlan:
    """Draw a plan with waves of failed calls, to check the retry budget, which covers ten seconds."""
    plan = _world(
        seed, "budget", rng, length_s / 2, instances=rng.randint(3, 5), timeout_s=5.0, attempts=3,
        retry_budget_min_per_s=rng.choice((0.3, 1.0)), eject_after=1000, max_connections_per_instance=100,
    )  # fmt: skip
    plan = plan.but(per_s=rng.choice((10.0, 20.0)), burst=1, work_s=0.0, large=0.0, cancelled=0.0)
    steps: list[PlannedFault] = []
    at_s = rng.uniform(20.0, 35.0)
    while at_s < length_s / 2 - _WAVE_S:
        kind = rng.choice(("unavailable", "unavailable", "limited", "cut"))
        for where in range(plan.instances):
            with_ = attributes(rng, KINDS[kind], probability=rng.choice((0.5, 1.0)))
            steps.append(PlannedFault(round(at_s, 3), kind, where, round(rng.uniform(2.0, _WAVE_S), 3), with_))
        at_s += rng.uniform(12.0, 30.0)
    return plan.but(steps=tuple(steps))


def _hour(seed: int, rng: Random, _: float) -> RunPlan:
    """Draw a plan of an hour with few calls and few faults, to find drift and resources that accumulate."""
    plan = _world(seed, "hour", rng, 3600.0, poll_interval_s=rng.choice((5.0, 10.0)), timeout_s=1.0)
    plan = plan.but(per_s=0.05, burst=rng.choice((1, 3, 6)), clients=1, large=0.0, work_s=0.02)
    steps = (
        PlannedFault(round(rng.uniform(10.0, 3500.0), 3), rng.choice(("crash", "replace", "reset")), 0, 5.0)
        for _ in range(4)
    )
    drawn = (PlannedFault(s.at_s, s.kind, 0, s.for_s, attributes(rng, KINDS[s.kind])) for s in steps)
    return plan.but(steps=tuple(sorted(drawn, key=lambda step: step.at_s)))


_DRAWERS = {
    "calm": _calm,
    "chaos": _chaos,
    "discovery": _discovery,
    "rolling": _rolling,
    "overload": _overload,
    "big": _big,
    "storm": _storm,
    "minority": _minority,
    "budget": _budget,
    "hour": _hour,
}


def _world(seed: int, profile: str, rng: Random, chaos_s: float, **client: Any) -> RunPlan:
    instances = client.pop("instances", 0) or rng.choice((1, 2, 3, 3, 5, 5, 8))
    settings = {
        "poll_interval_s": rng.choice((5.0, 5.0, 10.0, 10.0, 20.0)),
        "discovery_timeout_s": rng.choice((1.0, 3.0)),
        "timeout_s": rng.choice((1.0, 5.0, 5.0)),
        "connect_timeout_s": rng.choice((0.3, 1.0)),
        "attempts": rng.choice((2, 3, 3, 3, 5)),
        "retry_budget_min_per_s": rng.choice((0.3, 10.0, 10.0)),
        "eject_after": rng.choice((2, 5)),
        "eject_base_s": rng.choice((2.0, 10.0, 30.0)),
        "eject_max_s": rng.choice((5.0, 30.0, 60.0)),
        "idle_timeout_s": rng.choice((0.5, 5.0, 30.0)),
        "max_connections_per_instance": rng.choice((1, 4, 100)),
    }
    if rng.random() < 0.5:  # noqa: PLR2004  a half
        settings["attempt_timeout_s"] = rng.choice((0.2, 0.5, 1.0))
    return RunPlan(
        seed=seed,
        profile=profile,
        chaos_s=round(chaos_s, 3),
        instances=instances,
        weights=tuple(rng.choice((1, 1, 1, 2, 3)) for _ in range(min(instances, 10))) if rng.random() < 0.5 else (),  # noqa: PLR2004
        zones=rng.choice((2, 3)),
        clients=rng.choice((1, 1, 1, 2)),
        per_s=rng.choice((2.0, 2.0, 2.0, 2.0, 2.0, 10.0)),
        has_token=rng.random() < 0.5,  # noqa: PLR2004
        large=rng.choice((0.0, 0.0, 0.0, 0.02)),
        cancelled=rng.choice((0.0, 0.02)),
        work_s=rng.choice((0.0, 0.0, 0.005)),
        jitter_s=rng.choice((0.0, 0.0005, 0.003)),
        client={**settings, **client},
    )
