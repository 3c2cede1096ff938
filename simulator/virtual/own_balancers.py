"""Balancers like those of programs: one balances by load, and the other violates the `Balancer` protocol.

They are written from the documentation of the client's `Balancer` protocol, and share no code with the client.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from simulator.virtual.network.fault_points import mark

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Found = Callable[[str], None]

_FAILS = 0.2
"""Share of the steps in which `Hostile` raises."""


class FewestCalls:
    """Chooses the instance with the fewest attempts in flight, and checks its notifications.

    Args:
        rng: Breaks ties.
        found: Called with the description of each violation of the protocol by the client.
    """

    def __init__(self, rng: Random, found: Found) -> None:
        self._rng = rng
        self._found = found
        self._instances: tuple[Any, ...] = ()
        self._running: dict[int, tuple[Any, Any]] = {}
        self._in_flight: Counter[Any] = Counter()

    @property
    def left(self) -> list[str]:
        """The addresses of attempts that have started and not ended."""
        return [instance.address for instance, _ in self._running.values()]

    def update(self, instances: Any) -> None:
        """Store the eligible instances (`Balancer`)."""
        self._instances = tuple(instances)
        if any(instance.weight <= 0 for instance in instances):
            self._found("an instance without weight is eligible")

    def choose(self, call: Any, excluded: Any) -> Any:
        """Choose an instance (`Balancer`)."""
        if not call.attempt:
            self._found("an instance is chosen for no attempt")
        free = [instance for instance in self._instances if instance not in excluded]
        if not free:
            return None
        fewest = min(self._in_flight[instance.key] / instance.weight for instance in free)
        return self._rng.choice([each for each in free if self._in_flight[each.key] / each.weight == fewest])

    def started(self, instance: Any, call: Any) -> None:
        """Add an attempt to those in flight (`Balancer`)."""
        if id(call) in self._running:
            self._found(f"an attempt on {instance.address} has started twice")
        self._running[id(call)] = instance, call
        self._in_flight[instance.key] += 1

    def ended(self, instance: Any, call: Any, outcome: Any, elapsed_s: float) -> None:
        """Remove an attempt from those in flight (`Balancer`)."""
        started, _ = self._running.pop(id(call), (None, None))
        if started is None or started.key != instance.key:
            self._found(f"an attempt on {instance.address} has ended ({outcome}) that has not started there")
        if elapsed_s < 0:
            self._found(f"an attempt on {instance.address} has taken {elapsed_s} s")
        self._in_flight[instance.key] -= 1


class Hostile:
    """A balancer that violates the `Balancer` protocol at random.

    Args:
        rng: Source of random draws.
        found: Not used; this balancer reports no violations by the client.
    """

    left: ClassVar[list[str]] = []

    def __init__(self, rng: Random, found: Found) -> None:  # noqa: ARG002  as `FewestCalls`
        self._rng = rng
        self._seen: list[Any] = []

    def update(self, instances: Any) -> None:
        """Store every instance that was ever eligible, and raise in a share `_FAILS` of the calls."""
        known = {instance.key for instance in self._seen}
        self._seen += [instance for instance in instances if instance.key not in known]
        self._fail_sometimes("update")

    def choose(self, call: Any, excluded: Any) -> Any:  # noqa: ARG002  as in the protocol
        """Return a random proposal, or raise.

        The proposals are `None`, objects of other types, a former or excluded instance, and an unknown address.
        """
        proposals: list[Any] = [None, object(), "10.0.0.1:80"]
        if self._seen:
            proposals += [self._rng.choice(self._seen), self._seen[0]._replace(ip="10.250.0.1")]
        if excluded:
            proposals.append(next(iter(excluded), None))
        self._fail_sometimes("choose")
        return self._rng.choice(proposals)

    def started(self, instance: Any, call: Any) -> None:  # noqa: ARG002  as in the protocol
        """Raise in a share `_FAILS` of the calls."""
        self._fail_sometimes("started")

    def ended(self, *_: Any) -> None:
        """Raise in a share `_FAILS` of the calls."""
        self._fail_sometimes("ended")

    def _fail_sometimes(self, where: str) -> None:
        if self._rng.random() < _FAILS:
            kind = self._rng.choice((ValueError, GeneratorExit, StopIteration, RecursionError))
            raise mark(kind(f"hostile {where}"))


OWN_BALANCERS: dict[str, type[FewestCalls | Hostile]] = {"own": FewestCalls, "hostile": Hostile}
"""The balancers that a plan may name in addition to the balancers of the client, by name."""
