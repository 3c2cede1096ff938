"""Weights after normalisation, as balancers use them."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from eas_tw.policy.cluster import Cluster, ClusterPolicy
from eas_tw.policy.instances import MAX_WEIGHT, Instance
from eas_tw.policy.outcomes import ANSWERED
from eas_tw.policy.selection import FIRST
from eas_tw.policy.weights import LEAST_SHARE, normalised


def fleet(*weights: float) -> list[Instance]:
    return [Instance("10.0.0.1", port, weight) for port, weight in enumerate(weights, 1)]


def weights(*given: float) -> list[float]:
    return [instance.weight for instance in normalised(fleet(*given))]


def test_usual_weights_are_not_changed() -> None:
    for given in ((1,), (100, 100), (1, 10_000), (0.5, 1.5), (1, 1_000_000), (MAX_WEIGHT, MAX_WEIGHT)):
        assert weights(*given) == list(given)


def test_instances_with_weight_zero_are_left_out() -> None:
    assert weights(0, 3, 0) == [3]
    assert weights(0) == weights() == []


@pytest.mark.parametrize("tiny", [5e-324, 1e-310, 1e-20, 1e-7])
def test_a_very_small_weight_is_raised_to_the_least_share(tiny: float) -> None:
    assert weights(tiny, 1) == [LEAST_SHARE, 1]
    assert weights(100, tiny, 50) == [100, 100 * LEAST_SHARE, 50]


@pytest.mark.parametrize("exponent", range(-320, 10, 5))
def test_ratios_are_exact_at_every_order_of_magnitude(exponent: int) -> None:
    one, two = weights(float(f"1e{exponent}"), 2 * float(f"1e{exponent}"))
    assert two == 2 * one
    assert LEAST_SHARE <= two <= MAX_WEIGHT


@pytest.mark.parametrize("huge", [2**31, 1e30, 1.7e308, 10**400, float("inf")])
def test_weights_above_the_maximum_count_as_the_maximum(huge: float) -> None:
    """Discovery rejects such rows, but other sources of instances may have them."""
    assert weights(huge, 1) == [MAX_WEIGHT, MAX_WEIGHT * LEAST_SHARE]


@pytest.mark.parametrize("balancer", ["wrr", "p2c"])
@pytest.mark.parametrize("tiny", [5e-324, 1e-310, 1e-20])
def test_lists_with_extreme_weights_and_later_lists_are_applied(balancer: str, tiny: float) -> None:
    policy: dict[str, Any] = {"balancer": balancer, "slow_start_s": 10.0}
    for size in (None, 1, 2):
        made = Cluster(ClusterPolicy(subset_size=size, **policy), Random(1))
        made.apply(fleet(tiny), 0.0)
        assert made.choose(FIRST, 0.0) is not None
        made.apply(fleet(tiny, 100, 100), 1.0)
        assert [instance.weight for instance in made.instances] == [tiny, 100, 100]
        made.apply(fleet(100, 1, 1), 2.0)
        found: Counter[int] = Counter()
        for call in range(1020):
            picked = made.choose(FIRST, 20.0 + call)
            assert picked is not None
            made.record(picked, ANSWERED, 20.0 + call, 20.0 + call)
            found[picked.port] += 1
        assert sum(found.values()) == 1020
        if size is None and balancer == "wrr":
            assert found == pytest.approx({1: 1000, 2: 10, 3: 10}, abs=1)
