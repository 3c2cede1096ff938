"""Weighted round robin, earliest deadline first.

Instance i has deadlines at the virtual times (k + phase_i) / weight_i, k = 0, 1, 2, …; each pick takes the instance
with the earliest deadline. Any interval of virtual time of length 1 (one *cycle*: as many picks as the sum of the
weights) has exactly weight_i deadlines of instance i. So the shares are exact over each cycle, and each instance's
picks are evenly spread over the cycle. The phases are drawn once per instance. Because they are random, many processes
do not all send their first calls to the first row (as in gRPC's weighted round robin).

Virtual time is counted in integer ticks, of which `_CYCLE / weight_i` are between two deadlines of instance i
(Waldspurger's stride scheduling). Python's integers have no bound, so there is no drift. With floats a subnormal or
huge weight could advance the time so far that the strides of other instances are lost in rounding.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from eas_tw.policy.balancing import NO_CALL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from random import Random

    from eas_tw.policy.balancing import CallInfo
    from eas_tw.policy.instance import Instance

Key = tuple[str, int]

_CYCLE = 2**160
"""Ticks of one cycle: a stride is exact to 2**-129 for the greatest valid weight, to 2**-60 for a weight of 1e30."""
_PHASE_BITS = 53
_PHASES = 2**_PHASE_BITS
"""The number of values of `random.random()`."""


class _Turn:
    """The position of one instance in the rotation.

    Attributes:
        stride: Ticks between two deadlines.
        offset: The tick of the first deadline; the later deadlines follow at intervals of one stride.
        due: The tick of the next deadline.
        is_over: Whether the instance has left the list; its heap entry is skipped when it reaches the top.
    """

    __slots__ = ("due", "instance", "is_over", "offset", "phase", "stride")

    def __init__(self, instance: Instance, stride: int, phase: float, now: int) -> None:
        self.instance = instance
        self.stride = stride
        self.phase = phase
        self.offset = self.due = int(phase * _PHASES) * stride >> _PHASE_BITS
        self.is_over = False
        if self.due < now:
            self.join(now)

    def join(self, now: int) -> None:
        """Move the next deadline to the first one at or after `now`; missed deadlines are dropped."""
        behind = now - self.offset
        self.due = self.offset if behind <= 0 else self.offset - (-behind // self.stride) * self.stride

    def forgive(self, now: int) -> None:
        """Drop all missed deadlines but the last."""
        kept = self.due
        self.join(now)
        self.due = max(kept, self.due - self.stride)


_Entry = tuple[int, int, _Turn]


class Rotation:
    """Weighted round robin over a changing list; a choice costs O(log n), an update O(n).

    An instance of weight 0 is never chosen. Instances that stay in the list keep their position when other instances
    are added or removed.

    Args:
        rng: The generator of random numbers for the phases.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._heap: list[_Entry] = []
        self._turns: dict[Key, _Turn] = {}
        self._joined = 0
        self._now = 0

    def __len__(self) -> int:
        return len(self._turns)

    def update(self, instances: Sequence[Instance]) -> None:
        """Replace the list; an instance whose weight is unchanged keeps its position."""
        # Everything that may raise is computed first, so that an exception leaves the rotation unchanged.
        joining, same, leaving = self._compare(instances)
        for known, instance in same:
            known.instance = instance
        for key in leaving:
            self._leave(key)
        for turn in joining:
            key = turn.instance.key
            if key in self._turns:  # the list names the instance twice
                self._leave(key)
            self._turns[key] = turn
        self._insert(joining)

    def _compare(self, instances: Sequence[Instance]) -> tuple[list[_Turn], list[tuple[_Turn, Instance]], list[Key]]:
        """Compare a new list with the present one.

        Returns:
            1. New turns of the instances that are new or have another weight.
            2. The turns to keep for other objects of the same instance and weight, with these objects.
            3. The keys whose present turns end.
        """
        turns, draw = self._turns, self._rng.random
        joining: list[_Turn] = []
        same: list[tuple[_Turn, Instance]] = []
        leaving: list[Key] = []
        strides: dict[float, int] = {}  # most instances of a list have the same weight
        staying = 0
        for instance in instances:
            weight = instance.weight
            known = turns.get(instance.key)
            if known is not None:
                staying += 1
                if known.instance.weight == weight:
                    if known.instance is not instance:
                        same.append((known, instance))
                    continue
                leaving.append(instance.key)
            stride = strides.get(weight)
            if stride is None:
                stride = strides[weight] = _stride(weight)
            if stride:
                joining.append(_Turn(instance, stride, draw() if known is None else known.phase, self._now))
        if staying < len(turns):
            listed = {instance.key for instance in instances}
            leaving += [key for key in turns if key not in listed]
        return joining, same, leaving

    def add(self, instances: Iterable[Instance]) -> None:
        """Add instances to the list; an instance that is already in it gets its new weight."""
        added = {instance.key: instance for instance in instances}
        kept = (turn.instance for key, turn in self._turns.items() if key not in added)
        self.update([*kept, *added.values()])

    def remove(self, keys: Iterable[Key]) -> None:
        """Remove instances from the list; unknown keys are ignored."""
        gone = set(keys)
        self.update([turn.instance for key, turn in self._turns.items() if key not in gone])

    def pick(self) -> Instance | None:
        """Return the next instance; the same as `choose` with nothing excluded."""
        return self.choose(NO_CALL, ())

    def choose(self, call: CallInfo, excluded: Collection[Instance]) -> Instance | None:  # noqa: ARG002  as in `Balancer`
        """Return the next instance that is not excluded; `None` when there is none.

        An excluded instance keeps at most one missed deadline. If it kept all missed deadlines, an instance that
        was excluded for some time would get every call afterwards, until no missed deadline was left.
        """
        heap = self._heap
        passed: list[_Entry] = []
        while heap and (heap[0][2].is_over or (excluded and heap[0][2].instance in excluded)):
            entry = heappop(heap)
            if not entry[2].is_over:
                passed.append(entry)
        picked = None
        if heap:
            due, joined, turn = heap[0]
            if due > self._now:  # noqa: PLR1730  max() would add a function call to each pick
                self._now = due
            turn.due = due = due + turn.stride
            heapreplace(heap, (due, joined, turn))
            picked = turn.instance
        for _, order, turn in passed:
            turn.forgive(self._now)
            heappush(heap, (turn.due, order, turn))
        return picked

    def _leave(self, key: Key) -> None:
        """Mark an instance as removed; its entry stays in the heap until it reaches the top."""
        turn = self._turns.pop(key, None)
        if turn is not None:
            turn.is_over = True

    def _insert(self, joining: list[_Turn]) -> None:
        """Insert turns one by one; rebuild the heap instead if there are many of them, or many removed entries."""
        entries = [(turn.due, number, turn) for number, turn in enumerate(joining, self._joined + 1)]
        self._joined += len(joining)
        if len(entries) * 8 < len(self._heap) <= 2 * len(self._turns) + 8:
            for entry in entries:
                heappush(self._heap, entry)
        else:
            self._heap = [entry for entry in self._heap if not entry[2].is_over] + entries
            heapify(self._heap)


def _stride(weight: float) -> int:
    """Return the ticks between two deadlines of an instance, ≥ 1; 0 for an instance of weight 0."""
    if not weight > 0:
        return 0
    up, down = weight.as_integer_ratio()
    return _CYCLE * down // up or 1
