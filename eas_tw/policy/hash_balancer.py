"""Balancing by key: weighted rendezvous hashing with bounded load.

Calls with the same key are sent to the same instance, by every process on every machine, so that the instance has warm
caches for the key. A key that many calls share would overload its instance. So an instance is chosen only while its
calls in flight are at most `hash_load_factor` times its fair share of all calls in flight. Otherwise the next instance
in the key's order is chosen (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.policy.load import InFlight
from eas_tw.policy.rendezvous import KeyOrder
from eas_tw.policy.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random

    from eas_tw.policy.balancing import CallInfo
    from eas_tw.policy.instance import Instance
    from eas_tw.policy.outcomes import Outcome

Key = tuple[str, int]

DEFAULT_LOAD_FACTOR = 1.25
"""Default of `hash_load_factor`; Envoy's documentation and the paper's authors use values between 1.25 and 2."""
_MOST_KEYS = 16_384
"""Maximum number of keys whose first instance is cached."""
_MOST_PLACES = 2**18
"""Maximum number of instances in all cached orders together, about 2 MiB."""
_ABSENT_SHARE = 8
"""The order is computed again when more than one in eight of its instances is missing from the list."""


class HashBalancer:
    """A `Balancer` that chooses by the call's key, and by weighted round robin for a call without a key.

    Args:
        rng: The generator of random numbers for the phases of the round robin; the choice by key does not depend on it.
        load_factor: Bound on an instance's calls in flight, as a multiple of its fair share, ≥ 1.
    """

    def __init__(self, rng: Random, load_factor: float = DEFAULT_LOAD_FACTOR) -> None:
        self._rotation = Rotation(rng)
        self._factor = load_factor
        self._order = KeyOrder(())
        self._instances: dict[Key, Instance] = {}
        self._is_complete = True
        self._weight = 0.0
        self._first: dict[str | bytes, Instance] = {}
        self._all: dict[str | bytes, list[Instance]] = {}
        self.in_flight = InFlight()

    def update(self, instances: Sequence[Instance]) -> None:
        """Replace the list.

        The order is reused if it contains every instance with its present weight, and at most an eighth of its
        instances is missing from the list. `choose` skips missing instances. Ejections and returns are frequent, and do
        not change the order of the other instances.
        """
        now = {instance.key: instance for instance in instances if instance.weight > 0}
        order = former = self._order
        if len(former) - len(now) > len(former) // _ABSENT_SHARE or not former.has(now.values()):
            order = KeyOrder(now.values(), former)
        # The fields are assigned last, so that an exception leaves the balancer unchanged.
        self._rotation.update(instances)
        if order is not former:
            self._order, self._first, self._all = order, {}, {}
        self._instances = now
        self._is_complete = len(now) == len(self._order)
        self._weight = sum(instance.weight for instance in now.values())

    def choose(self, call: CallInfo, excluded: Collection[Instance]) -> Instance | None:
        """Return the first instance in the key's order that is not excluded and is within its load bound.

        If all instances are above their bound, return the first that is not excluded; `None` when all are excluded. For
        a call without a key, return the choice of weighted round robin.
        """
        key = call.key
        if key is None:
            return self._rotation.choose(call, excluded)
        first = self._first.get(key)
        if first is None:
            first = self._order.first(key)
            if first is None:
                return None
            if len(self._first) >= _MOST_KEYS:
                del self._first[next(iter(self._first))]
            self._first[key] = first
        if (self._is_complete or first.key in self._instances) and not (excluded and first in excluded):
            # The usual case of `_next`, inlined because it applies to almost every call.
            in_flight = self.in_flight
            count = in_flight.of(first.key)
            if not count or count * self._weight <= self._factor * in_flight.total * first.weight:
                return first
        return self._next(key, excluded)

    def started(self, instance: Instance, call: CallInfo) -> None:  # noqa: ARG002  as in `Balancer`
        """Increment the instance's calls in flight."""
        self.in_flight.began(instance.key)

    def ended(self, instance: Instance, call: CallInfo, outcome: Outcome, elapsed_s: float) -> None:  # noqa: ARG002
        """Decrement the instance's calls in flight."""
        self.in_flight.ended(instance.key)

    def _next(self, key: str | bytes, excluded: Collection[Instance]) -> Instance | None:
        """Return the first allowed instance in the key's order within its load bound, or else the first allowed one."""
        fallback = None
        in_flight, factor, weight = self.in_flight, self._factor, self._weight
        for instance in self._whole_order(key):
            if instance.key not in self._instances or instance in excluded:
                continue
            count = in_flight.of(instance.key)
            if count * weight <= factor * in_flight.total * instance.weight:
                return instance
            fallback = fallback or instance
        return fallback

    def _whole_order(self, key: str | bytes) -> list[Instance]:
        order = self._all.get(key)
        if order is None:
            if (len(self._all) + 1) * len(self._order) > _MOST_PLACES:
                self._all = {}
            order = self._all[key] = self._order.all(key)
        return order
