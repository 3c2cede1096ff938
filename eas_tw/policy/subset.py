"""The part of a large fleet that one client uses, by weighted rendezvous hashing.

Each client ranks the instances by a hash of its own seed and the instance's address. Its subset is the first `size`
instances that are not left out; the next instance in the ranking replaces an instance that is left out. When the list
changes, as few instances as possible enter or leave a subset. Over many clients, the number of subsets that contain an
instance grows with its weight (by the score -w / ln(h) of Schindelhauer and Schomaker).
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from eas_tw.policy.instance import Instance

Key = tuple[str, int]


class Subset:
    """Ranks the fleet, and returns its first members.

    Args:
        size: Number of instances to use, ≥ 1; `None` for all.
        seed: The seed of this client, 64 bits; a different seed gives a different order.

    Attributes:
        is_partial: Whether the fleet has more instances than are used.
    """

    def __init__(self, size: int | None, seed: int) -> None:
        self._size = size
        self._salt = seed.to_bytes(8, "big", signed=False)
        self._order: tuple[Instance, ...] = ()
        self.is_partial = False

    def of(self, instances: Iterable[Instance]) -> Subset:
        """Return the subset of another list with the same seed; this object does not change."""
        other = Subset(self._size, 0)
        other._salt = self._salt
        other.set_fleet(instances)
        return other

    def set_fleet(self, instances: Iterable[Instance]) -> None:
        """Rank a new list; instances of weight 0 are in no subset."""
        usable = [instance for instance in instances if instance.weight > 0]
        is_partial = self._size is not None and self._size < len(usable)
        if is_partial:
            usable.sort(key=lambda instance: (-self._score(instance), instance.key))
        self._order, self.is_partial = tuple(usable), is_partial

    def members(self, out: Collection[Key] = ()) -> tuple[Instance, ...]:
        """Return the subset; the next instances in the ranking replace those in `out`."""
        well = [instance for instance in self._order if instance.key not in out]
        return tuple(well if self._size is None else well[: self._size])

    def _score(self, instance: Instance) -> float:
        digest = blake2b(instance.address.encode(), digest_size=8, key=self._salt).digest()
        drawn = (int.from_bytes(digest, "big") + 0.5) / 2.0**64
        return -instance.weight / math.log(drawn)
