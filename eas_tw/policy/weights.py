"""Normalisation of weights for the balancers: only ratios count, and every weight above 0 gets a minimum share.

Discovery may send any number from 0 to 2**31 - 1. Without a minimum, an instance of weight 1e-20 in a list with an
instance of weight 1 would get its first call after 1e20 other calls, and products of such weights could leave the range
of a float. The public list of instances keeps the weights that the control plane sent.
"""

from __future__ import annotations

from math import frexp, ldexp
from typing import TYPE_CHECKING

from eas_tw.policy.instance import MAX_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eas_tw.policy.instance import Instance

LEAST_SHARE = 1e-6
"""Minimum weight, as a share of the list's greatest weight; smaller weights are raised to it.

The value is far below the share of any canary (1 of 10,000).
"""
_SMALL = 1e-6
"""Greatest weight of a list below which all weights are multiplied by a power of two, which keeps the ratios exact."""


def normalised(instances: Iterable[Instance]) -> list[Instance]:
    """Return the instances with a weight above 0, with weights in a range that every balancer can handle."""
    usable = [instance for instance in instances if instance.weight > 0]
    if not usable:
        return usable
    weights = [instance.weight for instance in usable]
    heaviest, lightest = max(weights), min(weights)
    if _SMALL <= heaviest <= MAX_WEIGHT and lightest >= heaviest * LEAST_SHARE:
        return usable
    heaviest = min(heaviest, MAX_WEIGHT)
    exponent = frexp(heaviest)[1] if heaviest < _SMALL else 0
    least = ldexp(heaviest, -exponent) * LEAST_SHARE
    return [
        instance._replace(weight=max(ldexp(min(instance.weight, MAX_WEIGHT), -exponent), least)) for instance in usable
    ]
