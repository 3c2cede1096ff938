"""Draws the clients' resilience options from their own random stream, separately for each client.

The separate stream leaves the other parts of a seed's plan unchanged, except that fleets of three instances get more
calls for outlier detection. Many clients get no options, because most programs use the defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from simulator.virtual.plan import RunPlan

_PLAIN, _OFTEN, _SELDOM, _HEARD = 0.3, 0.35, 0.2, 0.75
_FEW = 3
_COMPARED_PER_S = 10.0
"""Calls per second that a client needs to compare three instances."""
_MANY = 100

_CHOICES: Mapping[str, tuple[float, tuple[Any, ...]]] = {
    "balancer": (_OFTEN, ("p2c",)),
    "subset_size": (_OFTEN, (1, 2, 3)),
    "max_in_flight_per_instance": (_OFTEN, (1, 2, 5)),
    "slow_start_s": (_OFTEN, (2.0, 20.0)),
    "outlier_success_gap": (_SELDOM, (0.1, 0.3)),
    "outlier_latency_ratio": (_SELDOM, (3.0, 5.0)),
    "hedge_after_s": (0.5, (0.02, 0.1, 0.4, "p95")),
    "max_waiting": (_SELDOM, (3, 10, 50)),
    "max_ejected_ratio": (_SELDOM, (0.3, 0.7, 1.0)),
}
"""The probability of each option, and the values that may be drawn."""


def with_options(plan: RunPlan, rng: Random) -> RunPlan:
    """Return the plan with options for each client, and a share of calls that are not idempotent."""
    once, is_heard = rng.choice((0.0, 0.1, 0.5)), rng.random() < _HEARD
    own = tuple(_drawn(rng, plan) for _ in range(min(plan.clients, 2)))
    compares = any("outlier_success_gap" in mine or "outlier_latency_ratio" in mine for mine in own)
    per_s = max(plan.per_s, _COMPARED_PER_S) if compares and plan.instances == _FEW else plan.per_s
    return plan.but(once=once, is_heard=is_heard, own=own if any(own) else (), per_s=per_s)


def _drawn(rng: Random, plan: RunPlan) -> Mapping[str, Any]:
    if rng.random() < _PLAIN:
        return {}
    drawn = {name: rng.choice(values) for name, (share, values) in _CHOICES.items() if rng.random() < share}
    if plan.instances >= _MANY and "subset_size" in drawn:
        drawn["subset_size"] *= 10
    return drawn
