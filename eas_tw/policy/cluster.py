"""Selection among the instances of one service.

`Cluster` combines the other policies: the subset of a large fleet, the balancer, health, outliers, slow start and load.
It returns values, and `net.upstream` acts on them. Clock and rng are arguments.

An instance *takes part* when the balancer may choose it. It is *left out* while it is ejected, probed or suspect.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import field, frozen

from eas_tw.policy.balancers import make_balancer
from eas_tw.policy.balancing import NO_CALL, Excluded
from eas_tw.policy.hash_balancer import DEFAULT_LOAD_FACTOR
from eas_tw.policy.health import SILENT, Health, HealthChange, HealthPolicy, speaks_against
from eas_tw.policy.instance import Change, Instance, changes, is_same_list
from eas_tw.policy.load import InFlight
from eas_tw.policy.outcomes import ANSWERED
from eas_tw.policy.outliers import Outliers
from eas_tw.policy.slow_start import SlowStart
from eas_tw.policy.subset import Subset
from eas_tw.policy.weights import normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from random import Random

    from eas_tw.policy.balancers import BalancerFactory
    from eas_tw.policy.balancing import Balancer, CallInfo
    from eas_tw.policy.guarded import BalancerFault
    from eas_tw.policy.outcomes import Outcome
    from eas_tw.policy.selection import Selection

Key = tuple[str, int]

NOTHING: tuple[()] = ()
"""The result of `Cluster.record` when no instance's health can have changed."""

_MOST_RESORTS = 16
"""The number of tried instances at which a call is no longer sent to untried instances that are left out.

The number is large enough to try every instance of a small list, and bounds the cost of a call when hundreds of
instances are down.
"""


def _ignore_fault(fault: BalancerFault, error: BaseException | None) -> None:
    """Do nothing: a built-in balancer has no faults."""


@frozen
class ClusterPolicy:
    """The settings of a cluster; defaults and units are those of `ClientConfig`."""

    health: HealthPolicy = field(factory=HealthPolicy)
    balancer: str | BalancerFactory = "wrr"
    hash_load_factor: float = DEFAULT_LOAD_FACTOR
    subset_size: int | None = None
    max_in_flight_per_instance: int | None = None
    slow_start_s: float = 0.0
    outlier_success_gap: float | None = None
    outlier_latency_ratio: float | None = None


class HealthTransition(NamedTuple):
    """A change of an instance's health that an outcome caused.

    Attributes:
        instance: The instance.
        is_ejected: Whether the instance is ejected from now on; `False` when it takes part.
        why: The cause, as a short phrase for the log.
        is_overflow: Whether the instance was not ejected only because too many instances are ejected already.
    """

    instance: Instance
    is_ejected: bool
    why: str
    is_overflow: bool = False


class Cluster:
    """Chooses the instance of each attempt, and updates health and load from the outcomes.

    Args:
        policy: The settings.
        rng: The generator of random numbers for choices and ejections.
        on_fault: A function that is called with each fault of a program's own balancer, see `GuardedBalancer`.

    Attributes:
        instances: The whole list.
        is_following: Whether `record` must be called for every attempt with the time at which it began. Only load,
            limits and outliers require this, and they are off by default.
        troubled: The health records of instances that failed lately or are overdue. When it is empty and `is_following`
            is false, `record` need not be called for an answered call.
        reads_calls: Whether the balancer reads the `CallInfo` of a selection; if not, pass `NO_CALL`.
    """

    def __init__(
        self,
        policy: ClusterPolicy,
        rng: Random,
        on_fault: Callable[[BalancerFault, BaseException | None], None] = _ignore_fault,
    ) -> None:
        self.instances: tuple[Instance, ...] = ()
        self._known: dict[Key, Instance] = {}
        self._limit = policy.max_in_flight_per_instance
        self._in_flight = InFlight()
        self._outliers = Outliers(policy.outlier_success_gap, policy.outlier_latency_ratio)
        self._balancer: Balancer = make_balancer(
            policy.balancer, rng, load_factor=policy.hash_load_factor, on_fault=on_fault
        )
        self.reads_calls = policy.balancer != "wrr"
        # The optional methods of the balancer; a balancer may have none or only some of them.
        self._started: Any = getattr(self._balancer, "started", None)
        self._streaming: Any = getattr(self._balancer, "streaming", None)
        self._ended: Any = getattr(self._balancer, "ended", None)
        is_heard = self._started is not None or self._ended is not None
        self.is_following = is_heard or self._limit is not None or self._outliers.is_on
        self._health = Health(policy.health, rng)
        self.troubled = self._health.records
        self._slow_start = SlowStart(policy.slow_start_s)
        self._subset = Subset(policy.subset_size, rng.getrandbits(64))
        self._members: dict[Key, Instance] = {}
        self._has_shares = False

    @property
    def ejected(self) -> tuple[Key, ...]:
        """Ip and port of the instances that were ejected and have not returned."""
        return self._health.ejected

    @property
    def is_wary(self) -> bool:
        """Whether an instance may be silent, see `Health.is_wary`."""
        return self._health.is_wary

    @property
    def is_sole(self) -> bool:
        """Whether the list has exactly one usable instance."""
        return len(self._known) == 1

    def has_another(self, failed: Collection[Key]) -> bool:
        """Return whether the list has an instance that is not in `failed`."""
        return any(key not in failed for key in self._known)

    def has_well(self, tried: Collection[Key]) -> bool:
        """Return whether the list has an instance that takes part and is not in `tried`."""
        is_out = self._health.is_out
        return any(key not in tried and not is_out(key) for key in self._known)

    def is_probe(self, instance: Instance, began: float) -> bool:
        """Return whether the call that was sent to an instance at `began` is its probe."""
        return self._health.is_probe(instance.key, began)

    def apply(self, instances: Sequence[Instance], now: float) -> tuple[Change, ...]:
        """Replace the list of instances, and return the changes.

        A list that equals the present one is ignored. The list is stored last: when a step raises, the old list stays
        in force, and the next call repeats every step, even with the same list. So each step must be safe to repeat.

        Args:
            instances: The new list, validated by `eas_tw.policy.instances`.
            now: The time in seconds of the caller's clock.
        """
        instances = tuple(instances)
        if is_same_list(self.instances, instances):
            return ()
        found = changes(self.instances, instances)
        usable = normalised(instances)
        known = {instance.key: instance for instance in usable}
        subset = self._subset.of(usable)
        if self.instances:
            self._slow_start.begin([key for key in known if key not in self._known], now)
        self._health.set_fleet(known)
        try:
            self._regroup(subset, now)
        except BaseException:
            # Restore the old list. Instances that `set_fleet` dropped have lost their failure records, and take part.
            self._health.set_fleet(self._known)
            self._regroup(self._subset, now)
            raise
        gone = [key for key in self._known if key not in known]
        self._subset = subset
        self._known = known
        self.instances = instances
        self._slow_start.forget(gone)
        return found

    def choose(self, selection: Selection, now: float) -> Instance | None:
        """Choose the instance for an attempt.

        Args:
            selection: The instances that the call has tried, and those that have failed it.
            now: The time in seconds of the caller's clock.

        Returns:
            1. An untried instance of the subset that takes part, by weight or load. The first attempt of a call may be
               the probe of an instance whose ejection is over.
            2. The next untried instance in the subset's order that is not left out.
            3. An untried instance that is left out, if the call has tried fewer than 16 instances.
            4. A tried instance that has not failed; those that take part come first.
            5. The only instance of the list.
            6. `None`, when none of these exists.

            Pass each chosen instance to `record` exactly once.
        """
        ends, steps = self._health.next_return, self._slow_start.next_step
        if (ends is not None and now >= ends) or (steps is not None and now >= steps):
            self._catch_up(now)
        half_open = self._health.half_open
        if half_open and selection.tried:
            # A retry avoids half-open instances, because a probe may fail. A retry is used as a probe only when no
            # other instance is left.
            picked = self._pick(selection.avoiding(half_open)) or self._pick(selection)
        elif self._limit or selection.tried:
            picked = self._pick(selection)
        else:
            picked = self._balancer.choose(selection.call, ())
        if picked is None:
            picked = self._last_resort(selection, now)
            if picked is None:
                return None
        elif self._has_shares:
            # The balancer returned a copy whose weight slow start has reduced.
            picked = self._members[picked.key]
        if half_open and picked.key in half_open:
            self._health.probe(picked.key, now)
            self._shift((picked.key,), now)
        if self.is_following:
            self._in_flight.began(picked.key)
            if self._started is not None:
                self._started(picked, selection.call)
        return picked

    def _catch_up(self, now: float) -> None:
        """Apply ended ejections and changed slow-start shares."""
        self._shift(self._health.returning(now), now)
        if self._slow_start.due(now):
            self._update(self._members, now)

    def record(
        self,
        instance: Instance,
        outcome: Outcome,
        now: float,
        began: float = math.inf,
        latency_s: float | None = None,
        call: CallInfo = NO_CALL,
    ) -> Sequence[HealthTransition]:
        """Record how an attempt ended.

        Args:
            instance: The instance of the attempt.
            outcome: How the attempt ended.
            now: The time in seconds of the caller's clock.
            began: The time at which the attempt was sent, on the same clock. It may be omitted only for an answered
                attempt while `is_following` is false.
            latency_s: The latency in seconds; `None` for `now - began`. For a stream, the time to its head, because the
                duration of a stream does not depend on the speed of its instance.
            call: The `call` of the selection with which the instance was chosen.

        Returns:
            The health transitions to report; `NOTHING` if no instance's health can have changed.
        """
        health_change = self._health.record(instance.key, outcome, now, began)
        if health_change is None and not self.is_following:
            return NOTHING
        transitions = self._conclude(instance, outcome, now, health_change)
        if self.is_following:
            self._follow(instance, outcome, max(0.0, now - began), latency_s, call)
            transitions += self._judge_outliers(now)
            if health_change is None and not transitions:
                return NOTHING
        return transitions

    def suspect(self, instance: Instance, began: float, now: float) -> None:
        """Record that a call sent at `began` is overdue, and that its instance has sent nothing since then."""
        if self._health.suspect(instance.key, began):
            self._shift((instance.key,), now)

    def watch(self, instance: Instance, began: float) -> bool:
        """Return whether to watch an overdue attempt, see `Health.watch`; pass its outcome to `overheard`."""
        return self._health.watch(instance.key, began)

    def overheard(
        self, instance: Instance, outcome: Outcome, now: float, began: float, *, is_all: bool
    ) -> Sequence[HealthTransition]:
        """Record an outcome as evidence about the instance's health; unlike `record`, leave the load unchanged.

        Called for attempts that are watched after their call, and for the heads of streams.

        Args:
            instance: The instance of the attempt.
            outcome: How the attempt ended.
            now: The time in seconds of the caller's clock.
            began: The time at which the attempt was sent, on the same clock.
            is_all: Whether the attempt has ended, so that it is no longer watched.
        """
        found = self._conclude(instance, outcome, now, self._health.record(instance.key, outcome, now, began))
        if is_all:
            found += self._conclude(instance, outcome, now, self._health.unwatch(instance.key, began))
        return found

    def stream_began(self, instance: Instance, now: float, began: float, call: CallInfo) -> Sequence[HealthTransition]:
        """Record that the head of a stream, requested at `began`, has arrived; call `record` when the stream ends."""
        if self._streaming is not None:
            self._streaming(instance, call, max(0.0, now - began))
        return self.overheard(instance, ANSWERED, now, began, is_all=False)

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

    def _follow(
        self, instance: Instance, outcome: Outcome, elapsed_s: float, latency_s: float | None, call: CallInfo
    ) -> None:
        key = instance.key
        self._in_flight.ended(key)
        if self._ended is not None:
            self._ended(instance, call, outcome, elapsed_s)
        if self._outliers.is_on:
            is_bad = speaks_against(outcome)
            if is_bad or (outcome is ANSWERED and not call.hold_s):
                self._outliers.record(key, elapsed_s if latency_s is None else latency_s, is_good=not is_bad)

    def _judge_outliers(self, now: float) -> list[HealthTransition]:
        found = [key for key in self._outliers.sweep(now, self._known) if self._health.eject(key, now)]
        self._shift(found, now)
        return [HealthTransition(self._known[key], is_ejected=True, why="worse than the others") for key in found]

    def _pick(self, selection: Selection) -> Instance | None:
        """Choose an untried instance below its limit of calls; if there is none, ignore the limit."""
        limit = self._limit or math.inf
        in_flight = self._in_flight.of
        full = [key for key in self._members if in_flight(key) >= limit] if self._limit else ()
        picked = self._ask(selection.avoiding(full)) if full else None
        return picked if picked is not None else self._ask(selection)

    def _ask(self, selection: Selection) -> Instance | None:
        """Return the balancer's choice among the untried instances."""
        tried = selection.tried
        return self._balancer.choose(selection.call, Excluded(tried, self._known) if tried else ())

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
        picked = self._ask(selection.retrying())
        if picked is not None:
            return picked
        for key in left_out:
            if key in tried and key not in failed and key in self._known:
                self._health.resort(key, now)
                return self._known[key]
        return next(iter(self._known.values())) if self.is_sole else None

    def _shift(self, keys: Sequence[Key], now: float) -> None:
        """Add instances to the balancer, or remove instances from the balancer, according to their present health.

        A partial subset may need a replacement for a removed instance, so the whole subset is computed again.
        """
        if not keys:
            return
        if self._subset.is_partial:
            self._regroup(self._subset, now)
            return
        out = {key for key in keys if self._health.is_out(key)}
        members = {key: instance for key, instance in self._members.items() if key not in out}
        members.update((key, self._known[key]) for key in keys if key in self._known and key not in out)
        self._update(members, now)

    def _regroup(self, subset: Subset, now: float) -> None:
        """Pass the members of a subset that take part to the balancer."""
        out = dict.fromkeys(self._health.left_out)
        self._update({instance.key: instance for instance in subset.members(out)}, now)

    def _update(self, members: dict[Key, Instance], now: float) -> None:
        """Pass the eligible instances to the balancer, with their weights reduced by slow start."""
        shares = self._slow_start.shares(now)
        if shares:
            eligible = tuple(
                instance if key not in shares else instance._replace(weight=instance.weight * shares[key])
                for key, instance in members.items()
            )
        else:
            eligible = tuple(members.values())
        self._balancer.update(eligible)
        self._has_shares = bool(shares)
        self._members = members
