"""Bugs planted in the options of resilience: probes, hedges, subsets, bounds, and calls that are not idempotent."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from eas_tw.net.call import Call
from eas_tw.net.deadlines import Deadlines
from eas_tw.net.leg import Leg
from eas_tw.policy import retry
from eas_tw.policy.cluster import Cluster
from eas_tw.policy.health import Health
from eas_tw.policy.hedging import Hedging
from eas_tw.policy.load import Loads
from eas_tw.policy.outcomes import NEVER_SENT, Condition
from eas_tw.policy.outliers import Outliers
from eas_tw.policy.retry import RetryBudget, RetryPolicy
from eas_tw.policy.slow_start import SlowStart
from eas_tw.policy.subset import Subset
from tests.simulation.planted import Patch, bug

# -- who is left out


@bug("j", seeds=20)
def half_open_means_open(patch: Patch) -> None:
    """The way of most clients: when the time is over everybody may call at once."""
    patch(Health, "probe", lambda self, key, now: self.half_open.pop(key))


@bug("j", seeds=20)
def returned_without_a_probe(patch: Patch) -> None:
    """Half the time is thought to be enough."""
    eject = Health._eject

    def shortly(self: Health, record: Any, base_s: float, now: float) -> bool:
        return eject(self, record, base_s / 8, now)

    patch(Health, "_eject", shortly)


@bug("j", seeds=20)
def everybody_may_be_left_out(patch: Patch) -> None:
    patch(Health, "_allowed", lambda self: len(self._fleet))


@bug("fij", seeds=20)
def probe_that_tells_nothing_is_the_last(patch: Patch) -> None:
    """Its end is not noticed, so the instance stays out."""
    patch(Health, "_end_probe", lambda self, key, record: None)


# -- calls that are not idempotent


@bug("k")
def not_idempotent_and_tried_again(patch: Patch) -> None:
    refusal = RetryPolicy._refusal
    patch(
        RetryPolicy,
        "_refusal",
        lambda self, history, options: refusal(self, history, evolve(options, is_idempotent=True)),
    )


@bug("k", seeds=40)
def stale_taken_for_unsent(patch: Patch) -> None:
    """A connection that closed under the request may have brought it all the same."""
    patch(retry, "NEVER_SENT", NEVER_SENT | {Condition.STALE})


@bug("k", seeds=20)
def not_idempotent_and_hedged(patch: Patch) -> None:
    hedge = Call.hedge

    def hedged(self: Call) -> None:
        wanted, self._is_idempotent = self._is_idempotent, True
        hedge(self)
        self._is_idempotent = wanted

    patch(Call, "hedge", hedged)


# -- hedges


@bug("cl", seeds=20)
def hedged_on_the_same_instance(patch: Patch) -> None:
    choose = Cluster.choose

    def again(self: Cluster, tried: Any, failed: Any, now: float) -> Any:
        return choose(self, failed, failed, now)

    patch(Cluster, "choose", again)


@bug("cl", "storm", 20)
def hedges_are_no_attempts(patch: Patch) -> None:
    hedge = Call.hedge

    def one_more(self: Call) -> None:
        policy, self._calls.policy = self._calls.policy, evolve(self._calls.policy, attempts=99)
        hedge(self)
        self._calls.policy = policy

    patch(Call, "hedge", one_more)


@bug("l", "overload", 10)
def hedges_cost_nothing(patch: Patch) -> None:
    """Of the budget, so they go on when all is slow."""

    def hedge(self: Call) -> None:
        budget, self._calls.budget = self._calls.budget, RetryBudget(1.0, 1e9)
        real(self)
        self._calls.budget = budget

    real = Call.hedge
    patch(Call, "hedge", hedge)


@bug("dhl", seeds=20)
def slower_leg_runs_on(patch: Patch) -> None:
    patch(Call, "_drop", lambda self, legs, began: None)


@bug("l", seeds=20)
def hedged_while_a_hedge_runs(patch: Patch) -> None:
    """The bound of two is forgotten, and the next hedge comes after the same time again."""
    hedge = Call.hedge

    def again(self: Call) -> None:
        calls, now = self._calls, self._calls.seconds()
        if len(self._legs) < 2:
            hedge(self)
        else:
            self._try(now)
        if self._hedge_s is not None:
            calls.hedges.set(self, now, self._hedge_s)

    patch(Call, "hedge", again)


@bug("o", seeds=20)
def no_second_chance(patch: Patch) -> None:
    """As long as the instance is silent, so is the call, to its end."""
    patch(Call, "mark_passed", lambda self: None)


@bug("l", seeds=20)
def everybody_is_late(patch: Patch) -> None:
    """A second chance for whoever has waited a little: twice the load when all is slow."""

    def hasty(self: Hedging, after: Any) -> None:
        init(self, after)
        self.marks = (0.05, 0.1) if self.marks else ()

    init = Hedging.__init__
    patch(Hedging, "__init__", hasty)
    patch(Hedging, "is_late", lambda self, waited_s, timeout_s: True)


@bug("h")
def time_of_an_attempt_left(patch: Patch) -> None:
    """Of an attempt that has ended before."""
    clear = Deadlines.clear

    def forget(self: Deadlines[Any], who: Any, after_s: float) -> None:
        if not isinstance(who, Leg):
            clear(self, who, after_s)

    patch(Deadlines, "clear", forget)


# -- subsets, bounds, shares


@bug("m", seeds=10)
def stand_in_stays(patch: Patch) -> None:
    """Who has come into the subset for one that was left out never goes again."""
    members = Subset.members

    def growing(self: Subset, out: Any = ()) -> Any:
        kept = self.__dict__.setdefault("kept", {})
        kept.update((instance.key, instance) for instance in members(self, out))
        return tuple(instance for instance in self._order if instance.key in kept and instance.key not in out)

    patch(Subset, "members", growing)


@bug("m", "overload", 10)
def bound_of_calls_in_flight_ignored(patch: Patch) -> None:
    patch(Cluster, "_pick", lambda self, tried, now: self._balancer.pick(tried, now))


@bug("m", "overload", 10)
def bound_of_calls_in_flight_off_by_one(patch: Patch) -> None:
    in_flight = Loads.in_flight
    patch(Loads, "in_flight", lambda self, key: in_flight(self, key) - 1)


@bug("h", seeds=10)
def cancelled_calls_stay_in_flight(patch: Patch) -> None:
    """So that the instance looks busy for ever."""
    ended = Loads.ended
    patch(Loads, "ended", lambda self, key, elapsed_s, now: elapsed_s is None or ended(self, key, elapsed_s, now))


@bug("g", "chaos", 30)
def slow_start_without_end(patch: Patch) -> None:
    patch(SlowStart, "due", lambda self, now: ())


@bug("g", "calm", 20)
def everybody_slower_than_the_median_is_an_outlier(patch: Patch) -> None:
    slow = Outliers._slow

    def strict(self: Outliers, tallies: Any) -> Any:
        if self._latency_ratio is not None:
            self._latency_ratio = 1.0
        return slow(self, tallies)

    patch(Outliers, "_slow", strict)
