"""Draws the options of a world that were added last, each with its own faults and its own random stream.

A world without an option is therefore the same as before the option existed, and one option does not change another.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from simulator.virtual.faults.catalog import LONG_LISTS, ON_AGENTS, ON_NAMES, STREAMED
from simulator.virtual.faults.schedule import schedule
from simulator.virtual.surroundings import CROWD, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.virtual.plan import RunPlan

_NAMED = 0.25
_GATEWAY = 0.2
_MONOTONIC = 0.2
_LONG_LISTS = 0.15
_BALANCED, _FACTORED = 0.3, 0.3
_STREAMS = {
    "calm": 0.3, "chaos": 0.5, "discovery": 0.2, "rolling": 0.5, "overload": 0.3, "storm": 0.3, "hour": 0.3,
}  # fmt: skip
"""Share of the worlds with streams, by profile."""
_STREAM_FAULTS = ("chaos", "rolling", "storm")
"""Profiles in which streams have faults of their own."""


def with_world_options(plan: RunPlan) -> RunPlan:
    """Return the plan with the options that its seed draws."""
    if plan.instances >= CROWD:
        return plan
    for name, draw in _OPTIONS.items():
        plan = draw(plan, Random(f"{plan.seed}/{name}/{plan.profile}"))
    return plan


def _named(plan: RunPlan, rng: Random) -> RunPlan:
    """Give clients a name instead of an address, with faults of the name server."""
    if plan.profile not in ("chaos", "discovery") or rng.random() >= _NAMED:
        return plan
    steps = schedule(rng, plan, list(ON_NAMES), plan.chaos_s, rng.choice((15.0, 40.0)))
    return joined(plan.but(is_named=True), steps)


def _gateway(plan: RunPlan, rng: Random) -> RunPlan:
    """Add a program that calls through the gateway, in half of the worlds with its own agent."""
    if plan.profile != "chaos" or rng.random() >= _GATEWAY:
        return plan
    plan = plan.but(
        gateway=rng.choice(("own", "agent")),
        gateway_mode=rng.choice(("fail", "fail", "retry", "avoid")),
        gateway_timeout_s=rng.choice((0.2, 1.5, 60.0)),
    )
    if plan.gateway == "own":
        return plan
    kinds = rng.sample(list(ON_AGENTS), rng.randint(1, 3))
    return joined(plan, schedule(rng, plan, kinds, plan.chaos_s, 20.0))


def _monotonic(plan: RunPlan, rng: Random) -> RunPlan:
    """Let clients use elapsed time, with changes of the clocks of their reactors."""
    if plan.profile != "chaos" or rng.random() >= _MONOTONIC:
        return plan
    steps = schedule(rng, plan, ("jump_ahead", "jump_back"), plan.chaos_s, rng.choice((10.0, 30.0)))
    return joined(plan.but(is_monotonic=True), steps)


def _long_lists(plan: RunPlan, rng: Random) -> RunPlan:
    """Add long lists of thousands of rows; seldom, since client and checkers parse each."""
    if plan.profile not in ("chaos", "discovery") or rng.random() >= _LONG_LISTS:
        return plan
    return joined(plan, schedule(rng, plan, list(LONG_LISTS), plan.chaos_s, plan.chaos_s / 2)[:2])


def _streams(plan: RunPlan, rng: Random) -> RunPlan:
    """Add streams beside the calls, with bounds and limits of their own, and faults of streams."""
    # A stream occupies its connection: with only one, calls are retried elsewhere, which a calm world must not need.
    is_narrow = plan.profile == "calm" and plan.client.get("max_connections_per_instance") == 1
    if rng.random() >= _STREAMS.get(plan.profile, 0.0) or is_narrow:
        return plan
    settings = {
        "stream_buffer_bytes": rng.choice((1, 1000, 16_384, 65_536)),
        "stream_idle_timeout_s": rng.choice((1.0, 3.0, 10.0)),
        "drain_timeout_s": rng.choice((0.0, 0.5, 2.0)),
    }
    plan = plan.but(streams_per_s=rng.choice((0.1, 0.2, 0.3)), client={**plan.client, **settings})
    if plan.profile not in _STREAM_FAULTS:
        return plan
    kinds = rng.sample(list(STREAMED), rng.choice((0, 1, 2, 3)))
    return joined(plan, schedule(rng, plan, kinds, plan.chaos_s, rng.choice((10.0, 20.0, 40.0)))) if kinds else plan


def _balancers(plan: RunPlan, rng: Random) -> RunPlan:
    """Give clients other balancers, and calls keys."""
    if plan.profile == "hour" or rng.random() >= _BALANCED:
        return plan
    own = plan.own or ({},)
    names = [rng.choice(("hash", "hash", "own", "hostile")) for _ in own]
    settings = tuple({**mine, "balancer": name} for mine, name in zip(own, names, strict=True))
    if rng.random() < _FACTORED and "hash" in names:
        settings = tuple({**mine, "hash_load_factor": rng.choice((1.0, 2.0, 10.0))} for mine in settings)
    return plan.but(own=settings, keys=rng.choice((1, 3, 30)))


_OPTIONS: Mapping[str, Callable[[RunPlan, Random], RunPlan]] = {
    "names": _named,
    "gateway": _gateway,
    "clocks": _monotonic,
    "long lists": _long_lists,
    "streams": _streams,
    "balancers": _balancers,
}
