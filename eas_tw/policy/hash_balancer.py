"""Balancing by key: weighted rendezvous hashing with bounded load.

Calls of one key go to the same instance, in every process and on every machine, so that its caches are warm for them.
A key that many calls share would overload its instance. So an instance takes a key's call only while its calls in
flight are at most `hash_load_factor` times its fair share of all calls in flight, and otherwise the next instance in
the key's own order takes it (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads").
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
"""Envoy's documentation and the paper's authors use values between 1.25 and 2."""
_MOST_KEYS = 16_384
"""Keys whose first instance is cached."""
_MOST_PLACES = 2**18
"""Instances in all cached orders together: about 2 MiB."""
_ABSENT_SHARE = 8
"""The order is computed again when an eighth of its instances is missing."""


class HashBalancer:
    """A `Balancer` that chooses by the call's key; a call without a key goes by weighted round robin.

    Args:
        rng: Draws the start of the round robin; keys do not depend on it.
        load_factor: How many times its fair share of the calls in flight an instance may have, ≥ 1.
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

        An ejection and a return are frequent, and the order without an instance is the order with it, passed over. So
        the order stays as long as it contains every instance with its present weight, and not too many others.
        """
        now = {instance.key: instance for instance in instances if instance.weight > 0}
        order = former = self._order
        if len(former) - len(now) > len(former) // _ABSENT_SHARE or not former.has(now.values()):
            order = KeyOrder(now.values(), former)
        # Stored last: if anything raises before, the balancer is unchanged.
        self._rotation.update(instances)
        if order is not former:
            self._order, self._first, self._all = order, {}, {}
        self._instances = now
        self._is_complete = len(now) == len(self._order)
        self._weight = sum(instance.weight for instance in now.values())

    def choose(self, call: CallInfo, excluded: Collection[Instance]) -> Instance | None:
        """Return the first instance in the key's order that is not excluded and has room; `None` when there is none."""
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
            # Written out, because it decides almost every call.
            in_flight = self.in_flight
            count = in_flight.of(first.key)
            if not count or count * self._weight <= self._factor * in_flight.total * first.weight:
                return first
        return self._next(key, excluded)

    def started(self, instance: Instance, call: CallInfo) -> None:  # noqa: ARG002  as in `Balancer`
        """Record one more call in flight."""
        self.in_flight.began(instance.key)

    def ended(self, instance: Instance, call: CallInfo, outcome: Outcome, elapsed_s: float) -> None:  # noqa: ARG002
        """Record one call in flight less."""
        self.in_flight.ended(instance.key)

    def _next(self, key: str | bytes, excluded: Collection[Instance]) -> Instance | None:
        """Return the first instance in the key's order that has room, or else the first that is not excluded."""
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
