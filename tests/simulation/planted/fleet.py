"""Bugs of the fleet: membership, rotation, ejection, and the bound of calls in flight."""

from __future__ import annotations

from typing import Any

from eas_tw.net.upstream import Upstream
from eas_tw.policy.cluster import Cluster
from eas_tw.policy.health import Health
from eas_tw.policy.load import InFlight
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from eas_tw.policy.outliers import Outliers
from eas_tw.policy.rotation import Rotation
from eas_tw.policy.slow_start import SlowStart
from eas_tw.policy.subset import Subset
from tests.simulation.planted.bugs import Patch, bug

# -- the fleet


@bug("recovers-after-heal")
def ejection_never_expires(patch: Patch) -> None:
    patch(Health, "returning", lambda self, now: ())


@bug("failure-explained recovers-after-heal", seeds=20)
def ejected_instances_are_no_last_resort(patch: Patch) -> None:
    """A call that has tried all other instances fails instead of trying an ejected one."""
    patch(Cluster, "_last_resort", lambda self, selection, now: None)


@bug("last-good-list exact-shares nothing-left one-probe", "discovery")
def removed_instance_keeps_its_turn(patch: Patch) -> None:
    update = Rotation.update

    def growing(self: Rotation, given: Any) -> None:
        kept = self.__dict__.setdefault("kept", {})
        kept.update((instance.key, instance) for instance in given)
        update(self, tuple(kept.values()))

    patch(Rotation, "update", growing)


@bug("exact-shares", "discovery", 20)
def new_weight_ignored(patch: Patch) -> None:
    update = Rotation.update

    def as_before(self: Rotation, given: Any) -> None:
        turns = self._turns
        update(self, [turns[each.key].instance if each.key in turns else each for each in given])

    patch(Rotation, "update", as_before)


@bug("last-good-list exact-shares nothing-left", "discovery", 40)
def weight_zero_gets_calls(patch: Patch) -> None:
    apply = Cluster.apply

    def all_of_them(self: Cluster, given: Any, now: float) -> Any:
        found = apply(self, [i if i.weight > 0 else i._replace(weight=1) for i in given], now)
        self.instances = tuple(given)
        return found

    patch(Cluster, "apply", all_of_them)


@bug("exact-shares subset-bounds", "calm", 4)
def rotation_restarted_by_each_list(patch: Patch) -> None:
    def apply(self: Upstream, given: Any) -> Any:
        result = real(self, given)
        balancer = self._cluster._balancer = Rotation(self._cluster._balancer._rng)
        balancer.update(given)
        return result

    real = Upstream.apply
    patch(Upstream, "apply", apply)


# -- ejection


@bug("one-probe", seeds=20)
def half_open_instance_gets_many_calls(patch: Patch) -> None:
    """When the ejection is over, the number of calls to the instance is not limited to the probe."""
    patch(Health, "probe", lambda self, key, now: self.half_open.pop(key))


@bug("one-probe", seeds=20)
def ejection_ends_early(patch: Patch) -> None:
    """An ejection ends after an eighth of the length that the client has computed."""
    eject = Health._eject

    def shortly(self: Health, record: Any, now: float, *, is_certain: bool) -> bool:
        is_out = eject(self, record, now, is_certain=is_certain)
        record.until = now + (record.until - now) / 8
        self._schedule()
        return is_out

    patch(Health, "_eject", shortly)


@bug("one-probe", seeds=20)
def ejection_bound_ignored(patch: Patch) -> None:
    patch(Health, "_allowed", lambda self: len(self._fleet))


@bug("failure-explained recovers-after-heal one-probe", seeds=20)
def probe_without_a_result_never_ends(patch: Patch) -> None:
    """The end of a probe without a result is not recorded, so the instance stays ejected."""
    patch(Health, "_end_one", lambda self, key, record, began: None)


# -- subsets, bounds, shares


@bug("subset-bounds", seeds=100)
def replacement_stays_in_the_subset(patch: Patch) -> None:
    """An instance that replaced an ejected one stays in the subset."""
    members = Subset.members

    def growing(self: Subset, out: Any = ()) -> Any:
        kept = self.__dict__.setdefault("kept", {})
        kept.update((instance.key, instance) for instance in members(self, out))
        return tuple(instance for instance in self._order if instance.key in kept and instance.key not in out)

    patch(Subset, "members", growing)


@bug("subset-bounds", "overload", 10)
def bound_of_calls_in_flight_ignored(patch: Patch) -> None:
    patch(Cluster, "_pick", lambda self, selection: self._ask(selection))


@bug("subset-bounds", "overload", 10)
def bound_of_calls_in_flight_off_by_one(patch: Patch) -> None:
    of = InFlight.of
    patch(InFlight, "of", lambda self, key: of(self, key) - 1)


@bug("nothing-left failure-explained", seeds=10)
def cancelled_calls_stay_in_flight(patch: Patch) -> None:
    """A cancelled call stays in the count of calls in flight of its instance, so the instance seems to be busy."""
    follow = Cluster._follow

    def uncounted(self: Cluster, instance: Any, outcome: Outcome, *others: Any) -> None:
        if outcome.attempt_status is not AttemptStatus.CANCELLED:
            follow(self, instance, outcome, *others)

    patch(Cluster, "_follow", uncounted)


@bug("exact-shares", "chaos", 30)
def slow_start_never_ends(patch: Patch) -> None:
    patch(SlowStart, "due", lambda self, now: ())


@bug("exact-shares", "calm", 20)
def outlier_threshold_at_the_median(patch: Patch) -> None:
    slow = Outliers._slow

    def strict(self: Outliers, tallies: Any) -> Any:
        if self._latency_ratio is not None:
            self._latency_ratio = 1.0
        return slow(self, tallies)

    patch(Outliers, "_slow", strict)
