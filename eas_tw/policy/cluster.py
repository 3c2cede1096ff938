"""The instances of one service as policy sees them: who is in, who is left out, who gets the next call.

Puts the small policies together: the subset of a large fleet, the balancer, health, outliers, slow start and load.
Answers with values; `net.upstream` acts on them. Clock and rng are arguments.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

from attrs import field, frozen

from eas_tw.policy.health import SILENT, Health, HealthChange, HealthPolicy, speaks_against
from eas_tw.policy.instances import Added, Change, Instance, Removed, changes
from eas_tw.policy.least_loaded import LeastLoaded
from eas_tw.policy.load import Loads
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus
from eas_tw.policy.outliers import Outliers
from eas_tw.policy.rotation import Rotation
from eas_tw.policy.selection import FIRST
from eas_tw.policy.slow_start import SlowStart
from eas_tw.policy.subset import Subset
from eas_tw.policy.weights import normalised

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from random import Random

    from eas_tw.policy.outcomes import Outcome
    from eas_tw.policy.selection import Selection

Key = tuple[str, int]

NOTHING: tuple[()] = ()
"""What `Cluster.record` returns when no instance's standing can have changed."""

_MOST_RESORTS = 16
"""A call that has tried so many instances goes to no further one that is left out: all of a small list, and a bound on
what a call costs when hundreds are dead."""


class Balancer(Protocol):
    """Whose turn it is: `Rotation` or `LeastLoaded`."""

    def __contains__(self, key: object) -> bool:
        """Whether an instance takes part."""

    def add(self, instances: Iterable[Instance], shares: Mapping[Key, float] | None = None) -> None:
        """Let instances take part, with a share of their weight."""

    def remove(self, keys: Iterable[Key]) -> None:
        """Take instances out."""

    def pick(self, selection: Selection = FIRST, now: float = 0.0) -> Instance | None:
        """The next instance that is untried."""


@frozen
class ClusterPolicy:
    """What a cluster is made of; the defaults and units are those of `ClientConfig`."""

    health: HealthPolicy = field(factory=HealthPolicy)
    balancer: str = "wrr"
    subset_size: int | None = None
    max_in_flight_per_instance: int | None = None
    slow_start_s: float = 0.0
    outlier_success_gap: float | None = None
    outlier_latency_ratio: float | None = None


class HealthTransition(NamedTuple):
    """What an outcome changed.

    Attributes:
        instance: Whose.
        is_ejected: Whether it is left out from now on; otherwise it takes part.
        why: What it did.
        is_overflow: Whether it should be left out, and takes part because too many are already.
    """

    instance: Instance
    is_ejected: bool
    why: str
    is_overflow: bool = False


class Cluster:
    """Who may be picked, and who is.

    Attributes:
        instances: The whole list.
        is_following: Whether it has to be told how long each call took, which by default nobody needs to know.
        troubled: Something for each instance that failed lately; when it is empty, and not `is_following`, `record` has
            nothing to do for an answer.
    """

    def __init__(self, policy: ClusterPolicy, rng: Random) -> None:
        self.instances: tuple[Instance, ...] = ()
        self._known: dict[Key, Instance] = {}
        self._limit = policy.max_in_flight_per_instance
        self._loads = Loads()
        self._outliers = Outliers(policy.outlier_success_gap, policy.outlier_latency_ratio)
        self.is_following = policy.balancer == "p2c" or self._limit is not None or self._outliers.is_on
        self._balancer: Balancer = LeastLoaded(rng, self._loads) if policy.balancer == "p2c" else Rotation(rng)
        self._health = Health(policy.health, rng)
        self.troubled = self._health.records
        self._slow_start = SlowStart(policy.slow_start_s)
        self._subset = Subset(policy.subset_size, rng.getrandbits(64))
        self._members: dict[Key, Instance] = {}

    @property
    def ejected(self) -> tuple[Key, ...]:
        """The instances that were ejected and have not returned."""
        return self._health.ejected

    @property
    def is_wary(self) -> bool:
        """Whether a call may meet an instance that keeps it waiting, see `Health.is_wary`."""
        return self._health.is_wary

    @property
    def is_sole(self) -> bool:
        """Whether the list has one instance to pick from only."""
        return len(self._known) == 1

    def has_another(self, failed: Collection[Key]) -> bool:
        """Whether an instance exists that has not failed."""
        return any(key not in failed for key in self._known)

    def has_well(self, tried: Collection[Key]) -> bool:
        """Whether an untried instance exists that is not left out."""
        is_out = self._health.is_out
        return any(key not in tried and not is_out(key) for key in self._known)

    def is_probe(self, instance: Instance, began: float) -> bool:
        """Whether the call that was sent to an instance at `began` is its probe."""
        return self._health.is_probe(instance.key, began)

    def apply(self, instances: Sequence[Instance], now: float) -> tuple[Change, ...]:
        """Take over a new list; what changed. Nothing is rebuilt when nothing did.

        The list is stored last. Whatever raises before leaves the one in force that was there, and the next call does
        everything again, even with the same list: each step may be done twice.
        """
        instances = tuple(instances)
        if self.instances == instances:
            return ()
        found = changes(self.instances, instances)
        usable = normalised(instances)
        known = {instance.key: instance for instance in usable}
        gone = [change.instance.key for change in found if isinstance(change, Removed)]
        subset = self._subset.of(usable)
        if self.instances:
            self._slow_start.begin([change.instance.key for change in found if isinstance(change, Added)], now)
        self._health.set_fleet(known)
        try:
            self._regroup(subset, now)
        except BaseException:
            # The old list stays in force: whoever left it for a moment is well again, and takes part.
            self._health.set_fleet(self._known)
            self._regroup(self._subset, now)
            raise
        self._subset = subset
        self._known = known
        self.instances = instances
        self._slow_start.forget(gone)
        self._loads.forget(gone)
        return found

    def choose(self, selection: Selection, now: float) -> Instance | None:
        """The instance for an attempt.

        Args:
            selection: What the call says of itself.
            now: Seconds of the caller's clock.

        Returns:
            1. One of the subset that is untried and well, by weight or load; the first attempt of a call may be the
               probe of one whose ejection is over.
            2. The next untried and well one in the subset's order.
            3. An untried one that is left out, while the call has tried fewer than 16.
            4. One that has not failed, first of those that are well.
            5. The only instance of the list.
            6. `None`.

            Each one chosen must be told to `record` once.
        """
        if self._is_due(now):
            self._catch_up(now)
        half_open = self._health.half_open
        if half_open and selection.tried:
            # A call that has been somewhere already is no probe, while there is an instance that is known to be well.
            picked = self._pick(selection.avoiding(half_open), now) or self._pick(selection, now)
        elif self._limit:
            picked = self._pick(selection, now)
        else:
            picked = self._balancer.pick(selection, now)
        if picked is None:
            picked = self._last_resort(selection, now)
            if picked is None:
                return None
        if half_open and picked.key in half_open:
            self._health.probe(picked.key, now)
            self._shift((picked.key,), now)
        if self.is_following:
            self._loads.began(picked.key, now)
        return picked

    def _is_due(self, now: float) -> bool:
        """Whether time alone has changed something."""
        ends, steps = self._health.next_return, self._slow_start.next_step
        return (ends is not None and now >= ends) or (steps is not None and now >= steps)

    def _catch_up(self, now: float) -> None:
        self._shift(self._health.returning(now), now)
        due = self._slow_start.due(now)
        warm = [self._members[key] for key in due if key in self._members and key in self._balancer]
        if warm:
            self._balancer.add(warm, self._shares(now))

    def record(
        self, instance: Instance, outcome: Outcome, now: float, began: float = math.inf
    ) -> Sequence[HealthTransition]:
        """Take note of how an attempt ended.

        Args:
            instance: Where it went.
            outcome: How it ended.
            now: Seconds of the caller's clock.
            began: When it began; needed for all that are not answered, and when `is_following`.
        """
        health_change = self._health.record(instance.key, outcome, now, began)
        if health_change is None and not self.is_following:
            return NOTHING
        transitions = self._conclude(instance, outcome, now, health_change)
        if self.is_following:
            self._follow(instance.key, outcome, now, max(0.0, now - began))
            transitions += self._judge_outliers(now)
            if health_change is None and not transitions:
                return NOTHING
        return transitions

    def suspect(self, instance: Instance, began: float, now: float) -> None:
        """Note that a call which was sent to an instance at `began` is overdue, and that it has said nothing since."""
        if self._health.suspect(instance.key, began):
            self._shift((instance.key,), now)

    def watch(self, instance: Instance, began: float) -> bool:
        """Whether to listen to what is left of an overdue attempt, see `Health.watch`; `overheard` has its end."""
        return self._health.watch(instance.key, began)

    def overheard(
        self, instance: Instance, outcome: Outcome, now: float, began: float, *, is_all: bool
    ) -> Sequence[HealthTransition]:
        """Take note of what has come of an attempt that its call has left; unlike `record` it counts for no load.

        Args:
            instance: Where it went.
            outcome: What has come of it.
            now: Seconds of the caller's clock.
            began: When it began.
            is_all: Whether it is listened to no further.
        """
        found = self._conclude(instance, outcome, now, self._health.record(instance.key, outcome, now, began))
        if is_all:
            found += self._conclude(instance, outcome, now, self._health.unwatch(instance.key, began))
        return found

    def _conclude(
        self, instance: Instance, outcome: Outcome, now: float, health_change: HealthChange | None
    ) -> list[HealthTransition]:
        if health_change is None:
            return []
        key, why = instance.key, str(outcome)
        if health_change is HealthChange.RETURNED:
            self._slow_start.begin([key], now)
        if health_change is not HealthChange.OVERFLOW:
            self._shift((key,), now)
        if health_change is HealthChange.EJECTED:
            return [HealthTransition(instance, True, SILENT if self._health.is_silent(key) else why)]
        if health_change is HealthChange.RETURNED:
            return [HealthTransition(instance, False, why)]
        overflow = HealthTransition(instance, False, why, is_overflow=True)
        if health_change is HealthChange.KEPT:
            return [overflow, HealthTransition(instance, False, f"{why}, but too many are left out already")]
        return [overflow] if health_change is HealthChange.OVERFLOW else []

    def _follow(self, key: Key, outcome: Outcome, now: float, elapsed_s: float) -> None:
        is_bad = speaks_against(outcome)
        tells = is_bad or outcome is ANSWERED
        # A failure that comes at once must not look like the fastest instance of all.
        self._loads.ended(key, elapsed_s if outcome is ANSWERED or _took_its_time(outcome) else None, now)
        if tells and self._outliers.is_on:
            self._outliers.record(key, elapsed_s, is_good=not is_bad)

    def _judge_outliers(self, now: float) -> list[HealthTransition]:
        found = [key for key in self._outliers.sweep(now, self._known) if self._health.eject(key, now)]
        self._shift(found, now)
        return [HealthTransition(self._known[key], is_ejected=True, why="worse than the others") for key in found]

    def _pick(self, selection: Selection, now: float) -> Instance | None:
        """Past those that have all the calls they may have; when all have, the call waits where its turn is."""
        limit = self._limit or math.inf
        full = [key for key in self._members if self._loads.in_flight(key) >= limit]
        picked = self._balancer.pick(selection.avoiding(full), now) if full else None
        return picked if picked is not None else self._balancer.pick(selection, now)

    def _last_resort(self, selection: Selection, now: float) -> Instance | None:
        tried, failed, left_out = selection.tried, selection.failed, self._health.left_out
        if self._subset.is_partial:
            stand_ins = self._subset.members((*left_out, *tried))
            if stand_ins:
                return stand_ins[0]
        for key in left_out if len(tried) < _MOST_RESORTS else ():
            if key not in tried and key in self._known:
                self._health.resort(key, now)
                return self._known[key]
        picked = self._balancer.pick(selection.retrying(), now)
        if picked is not None:
            return picked
        for key in left_out:
            if key in tried and key not in failed and key in self._known:
                self._health.resort(key, now)
                return self._known[key]
        return next(iter(self._known.values())) if self.is_sole else None

    def _shift(self, keys: Sequence[Key], now: float) -> None:
        """Health says something else of these; of a subset that may concern others, too."""
        if not keys:
            return
        if self._subset.is_partial:
            self._regroup(self._subset, now)
            return
        out = [key for key in keys if self._health.is_out(key)]
        back = [self._known[key] for key in keys if key in self._known and key not in out]
        for key in out:
            self._members.pop(key, None)
        self._balancer.remove(out)
        self._members.update((instance.key, instance) for instance in back)
        self._balancer.add([instance for instance in back if instance.key not in self._balancer], self._shares(now))

    def _regroup(self, subset: Subset, now: float) -> None:
        """Let the balancer have exactly the members of a subset that are well or half open."""
        out = dict.fromkeys(self._health.left_out)
        members = {instance.key: instance for instance in subset.members(out)}
        leaving = [key for key in self._members if key not in members]
        joining = [
            instance
            for key, instance in members.items()
            if self._members.get(key) != instance or key not in self._balancer
        ]
        # Those who join first: should that raise, nobody has left.
        if joining:
            self._balancer.add(joining, self._shares(now))
        if leaving:
            self._balancer.remove(leaving)
        self._members = members

    def _shares(self, now: float) -> Mapping[Key, float] | None:
        return self._slow_start.shares(now) or None


def _took_its_time(outcome: Outcome) -> bool:
    return outcome.attempt_status in (AttemptStatus.ATTEMPT_TIMEOUT, AttemptStatus.UNRESPONSIVE, AttemptStatus.DEADLINE)
