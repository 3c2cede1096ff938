"""Power of two choices: draw two instances, and pick the one with the lower load for its weight.

Two draws are enough to avoid the most loaded instances without a scan of the fleet (Mitzenmacher 2001), and they keep
many client processes from choosing the same best instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.policy.selection import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from eas_tw.policy.instances import Instance
    from eas_tw.policy.load import Loads
    from eas_tw.policy.selection import Selection

Key = tuple[str, int]


class LeastLoaded:
    """A balancer that picks by load; interchangeable with `Rotation`."""

    def __init__(self, rng: Random, loads: Loads) -> None:
        self._rng = rng
        self._loads = loads
        self._weights: dict[Key, tuple[Instance, float]] = {}
        self._order: list[tuple[Instance, float]] = []

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: object) -> bool:
        return key in self._weights

    def add(self, instances: Iterable[Instance], shares: Mapping[Key, float] | None = None) -> None:
        """Add instances with a share of their weight; an instance of weight 0 is not added, or removed."""
        for instance in instances:
            weight = instance.weight * (shares or {}).get(instance.key, 1.0)
            if weight > 0:
                self._weights[instance.key] = instance, weight
            else:
                self._weights.pop(instance.key, None)
        self._order = list(self._weights.values())

    def remove(self, keys: Iterable[Key]) -> None:
        """Remove instances; unknown keys are ignored."""
        for key in keys:
            self._weights.pop(key, None)
        self._order = list(self._weights.values())

    def pick(self, selection: Selection = FIRST, now: float = 0.0) -> Instance | None:
        """Return the less loaded of two drawn untried instances; `None` when there is none."""
        tried = selection.tried
        drawn = [entry for entry in self._order if entry[0].key not in tried] if tried else self._order
        if len(drawn) <= 1:
            return drawn[0][0] if drawn else None
        first = int(self._rng.random() * len(drawn))
        second = int(self._rng.random() * (len(drawn) - 1))
        one, other = drawn[first], drawn[second + (second >= first)]
        return min(one, other, key=lambda entry: self._loads.score(entry[0].key, now) / entry[1])[0]
