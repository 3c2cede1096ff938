"""Whose turn it is: weighted round robin, earliest deadline first.

Instance i is due at the virtual times (k + phase_i) / weight_i, k = 0, 1, 2, …; a pick takes the earliest. In every
stretch of virtual time of length 1 (one *cycle*: as many picks as the weights add up to) instance i is due exactly
weight_i times, wherever the stretch begins, so the shares are exact over each cycle and spread evenly inside it.
The phases are drawn once per instance: they are the random start that keeps many processes from all
hitting the first row together (gRPC's weighted round robin does the same).

Deadlines are computed from k, never accumulated, and split into whole cycles and a rest, so they do not drift.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from random import Random

    from eas_tw.policy.instances import Instance

Key = tuple[str, int]


class _Turn:
    """One instance's place in the rotation; `turn` is k of its next deadline."""

    __slots__ = ("instance", "is_over", "phase", "turn", "weight")

    def __init__(self, instance: Instance, weight: float, phase: float) -> None:
        self.instance = instance
        self.weight = weight
        self.phase = phase
        self.turn = 0
        self.is_over = False

    def join(self, now: tuple[float, float]) -> None:
        """Make the next deadline the first one at or after `now` (cycle, rest): no debt, no credit."""
        cycle, rest = now
        self.turn = max(0, math.ceil(cycle * self.weight + rest * self.weight - self.phase))

    def forgive(self, now: tuple[float, float]) -> None:
        """Keep at most one deadline that has passed."""
        kept = self.turn
        self.join(now)
        self.turn = max(kept, self.turn - 1)

    def due(self) -> tuple[float, float]:
        cycle, rest = divmod(self.turn, self.weight)
        return cycle, (rest + self.phase) / self.weight


_Entry = tuple[tuple[float, float], int, _Turn]


class Rotation:
    """Weighted round robin over instances that come and go; a pick is O(log n), and so is one that comes or goes.

    Weight 0 is never picked. Instances that stay keep their place when others come or go.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._heap: list[_Entry] = []
        self._turns: dict[Key, _Turn] = {}
        self._joined = 0
        self._now: tuple[float, float] = (0, 0.0)

    def __len__(self) -> int:
        return len(self._turns)

    def __contains__(self, key: object) -> bool:
        return key in self._turns

    def add(self, instances: Iterable[Instance], shares: Mapping[Key, float] | None = None) -> None:
        """Let instances take part from now on; one that takes part already continues with its new weight.

        Args:
            instances: Who.
            shares: Of their weight, above 0; 1 for those not in it.
        """
        turns: list[tuple[Key, _Turn | None, tuple[float, float]]] = []
        for instance in instances:
            known = self._turns.get(instance.key)
            weight = instance.weight * (shares or {}).get(instance.key, 1.0)
            if weight > 0:
                turn = _Turn(instance, weight, known.phase if known else self._rng.random())
                turn.join(self._now)
                turns.append((instance.key, turn, turn.due()))
            else:
                turns.append((instance.key, None, self._now))
        # Every turn is computed before the first one changes anything.
        joining: list[_Entry] = []
        for key, joins, due in turns:
            self._leave(key)
            if joins is not None:
                self._turns[key] = joins
                self._joined += 1
                joining.append((due, self._joined, joins))
        self._insert(joining)

    def remove(self, keys: Iterable[Key]) -> None:
        """Take instances out of the rotation; unknown ones are ignored."""
        for key in keys:
            self._leave(key)
        self._insert([])

    def pick(self, tried: Collection[Key] = (), now: float = 0.0) -> Instance | None:  # noqa: ARG002  as every balancer
        """The next instance that is not in `tried`; `None` when there is none.

        Those passed over keep their turn, but one only: with every turn kept, an instance whose calls all went
        elsewhere for a while would then get all calls, until it had caught up.
        """
        heap = self._heap
        if not tried and heap and not heap[0][2].is_over:
            return self._take(heap)
        passed: list[_Entry] = []
        while heap and (heap[0][2].is_over or (tried and heap[0][2].instance.key in tried)):
            entry = heappop(heap)
            if not entry[2].is_over:
                passed.append(entry)
        picked = self._take(heap) if heap else None
        for _, order, turn in passed:
            turn.forgive(self._now)
            heappush(heap, (turn.due(), order, turn))
        return picked

    def _take(self, heap: list[_Entry]) -> Instance:
        due, joined, turn = heap[0]
        if due > self._now:  # noqa: PLR1730  max() would be a call for each pick
            self._now = due
        turn.turn += 1
        heapreplace(heap, (turn.due(), joined, turn))
        return turn.instance

    def _leave(self, key: Key) -> None:
        """Its entry stays in the heap until it comes up."""
        turn = self._turns.pop(key, None)
        if turn is not None:
            turn.is_over = True

    def _insert(self, joining: list[_Entry]) -> None:
        """One by one while they are few, in one pass when they are many or when what is over has piled up."""
        if len(joining) * 8 < len(self._heap) <= 2 * len(self._turns) + 8:
            for entry in joining:
                heappush(self._heap, entry)
        else:
            self._heap = [entry for entry in self._heap if not entry[2].is_over] + joining
            heapify(self._heap)
