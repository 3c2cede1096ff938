"""Draws the options of a world that were added last, each with its own faults and its own random stream.

Because of the separate streams, a world without an option is the same as before the option existed, and options do not
change each other.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from simulator.virtual.faults.catalog import (
    KINDS,
    LONG_LISTS,
    ON_AGENTS,
    ON_NAMES,
    QUEUED,
    SERVED_LATER,
    STREAMED,
    WRONG,
    Scope,
)
from simulator.virtual.faults.schedule import schedule
from simulator.virtual.plan import AT_QUEUE, PlannedFault
from simulator.virtual.surroundings import CROWD, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.virtual.plan import RunPlan

_NAMED = 0.25
_GATEWAY = 0.2
_MONOTONIC = 0.2
_LONG_LISTS = 0.15
_BALANCED, _FACTORED, _ALIKE = 0.3, 0.3, 0.7
_STREAMS = {
    "calm": 0.3, "chaos": 0.5, "discovery": 0.2, "rolling": 0.5, "overload": 0.3, "storm": 0.3, "hour": 0.3,
}  # fmt: skip
"""Share of the worlds with streams, by profile."""
_STREAM_FAULTS = ("chaos", "rolling", "storm")
"""Profiles with faults of streams."""
_QUEUES = {"calm": 0.2, "chaos": 0.4, "discovery": 0.2, "rolling": 0.4, "storm": 0.2, "hour": 0.2}
"""Share of the worlds with a queue service, by profile."""
_QUEUE_FAULTS = ("chaos", "rolling")
"""Profiles with faults of the queue service."""
_ON_QUEUES = (
    "crash", "hang", "drain", "refuse", "reset", "swallow", "grey", "error", "unavailable", "limited", "cut", "trickle",
    "slices", "slow_close", "close_idle", "slow_work", "idle_fin", "idle_rst", "busy_rst", "syn_unanswered",
    "slow_handshake", "full_queue", "latency", "loss", "narrow", "segments", "blackhole", "blackhole_up",
    "blackhole_down", "power_loss", "clog", "stall_stream", "cut_stream", "slow_first_byte", "half_close", "remove",
    "replace", "reweigh",
)  # fmt: skip
"""Kinds that instances of the queue service get in addition to `QUEUED`. None of them changes the bytes of a response,
because the checkers could then not determine the effect of an operation. Closed: one more kind would change the faults
of seeds. `_served_later` draws the kinds of `SERVED_LATER` that do not explain `WRONG` for the queue service."""
_SERVED_LATER = 0.1
"""Share of the chaos worlds that get each kind of `SERVED_LATER`."""


def with_world_options(plan: RunPlan) -> RunPlan:
    """Return the plan with the options that its seed draws."""
    if plan.instances >= CROWD:
        return plan
    for name, draw in _OPTIONS.items():
        plan = draw(plan, Random(f"{plan.seed}/{name}/{plan.profile}"))
    return plan


def _named(plan: RunPlan, rng: Random) -> RunPlan:
    """Give clients an endpoint with a host name instead of an IP address, and add faults of the name server."""
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
    """Let clients use elapsed time, and add faults that set the clocks of their reactors."""
    if plan.profile != "chaos" or rng.random() >= _MONOTONIC:
        return plan
    steps = schedule(rng, plan, ("jump_ahead", "jump_back"), plan.chaos_s, rng.choice((10.0, 30.0)))
    return joined(plan.but(is_monotonic=True), steps)


def _long_lists(plan: RunPlan, rng: Random) -> RunPlan:
    """Add at most two faults with lists of thousands of rows; more would take too much CPU time."""
    if plan.profile not in ("chaos", "discovery") or rng.random() >= _LONG_LISTS:
        return plan
    return joined(plan, schedule(rng, plan, list(LONG_LISTS), plan.chaos_s, plan.chaos_s / 2)[:2])


def _streams(plan: RunPlan, rng: Random) -> RunPlan:
    """Add streams in addition to the calls, with random limits, and faults of streams."""
    # A stream occupies its connection. With a limit of one connection, calls would be retried on other instances, and
    # the profile `calm` must have no retries.
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
    """Draw balancers that use keys, or the program's own balancers, for the clients; give calls keys."""
    if plan.profile == "hour" or rng.random() >= _BALANCED:
        return plan
    own = plan.own or ({},)
    names = [rng.choice(("hash", "hash", "own", "hostile")) for _ in own]
    if rng.random() < _ALIKE:
        names = names[:1] * len(own)
    settings = tuple({**mine, "balancer": name} for mine, name in zip(own, names, strict=True))
    if rng.random() < _FACTORED and "hash" in names:
        settings = tuple({**mine, "hash_load_factor": rng.choice((1.0, 2.0, 10.0))} for mine in settings)
    return plan.but(own=settings, keys=rng.choice((1, 3, 30, 30)))


def _queues(plan: RunPlan, rng: Random) -> RunPlan:
    """Add a queue service, a program that puts, gets and watches frames, and faults of the service and the program."""
    if rng.random() >= _QUEUES.get(plan.profile, 0.0):
        return plan
    plan = plan.but(
        queue_per_s=rng.choice((0.5, 1.0, 2.0)) if plan.profile != "hour" else 0.05,
        queue_instances=rng.choice((1, 2, 2, 3)),
        queue_workers=rng.random() < 0.5,  # noqa: PLR2004  a half
        queue_length=rng.choice((100_000, 100_000, 30)),
        client={**plan.client, "queue_watch": rng.choice(("websocket", "websocket", "http"))},
    )
    if plan.profile not in _QUEUE_FAULTS:
        return plan
    kinds = [*rng.sample(list(QUEUED), rng.randint(1, 3)), *rng.sample(_ON_QUEUES, rng.randint(0, 4))]
    steps = schedule(rng, plan, kinds, plan.chaos_s, rng.choice((5.0, 10.0, 20.0)))
    return joined(plan, [_at_queue(step, plan) for step in steps])


def _served_later(plan: RunPlan, _: Random) -> RunPlan:
    """Add faults of the kinds in `SERVED_LATER`, each kind from its own random stream."""
    if plan.profile != "chaos":
        return plan
    for name, kind in SERVED_LATER.items():
        rng = Random(f"{plan.seed}/{name}/{plan.profile}")
        if rng.random() >= _SERVED_LATER:
            continue
        steps = schedule(rng, plan, (name,), plan.chaos_s, rng.choice((10.0, 20.0, 40.0)))
        may_be_at_queue = kind.scope is Scope.INSTANCE and WRONG not in kind.explains
        if plan.queue_per_s and may_be_at_queue and rng.random() < 0.5:  # noqa: PLR2004  a half
            steps = tuple(_at_queue(step, plan) for step in steps)
        plan = joined(plan, steps)
    return plan


def _at_queue(step: PlannedFault, plan: RunPlan) -> PlannedFault:
    if KINDS[step.kind].scope is Scope.CONSUMER:
        return step
    return PlannedFault(step.at_s, step.kind, AT_QUEUE + step.where % plan.queue_instances, step.for_s, step.with_)


_OPTIONS: Mapping[str, Callable[[RunPlan, Random], RunPlan]] = {
    "names": _named,
    "gateway": _gateway,
    "clocks": _monotonic,
    "long lists": _long_lists,
    "streams": _streams,
    "balancers": _balancers,
    "queues": _queues,
    "served later": _served_later,
}
