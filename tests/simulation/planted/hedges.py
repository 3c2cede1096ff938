"""Bugs of second chances."""

from __future__ import annotations

from typing import Any

from eas_tw.net.call import Call
from eas_tw.net.deadlines import Deadlines
from eas_tw.net.leg import Leg
from eas_tw.policy.cluster import Cluster
from eas_tw.policy.hedging import Hedging
from eas_tw.policy.retry import RetryBudget
from eas_tw.policy.selection import Selection
from tests.simulation.planted.bugs import Patch, bug


@bug("cl", seeds=20)
def hedged_on_the_same_instance(patch: Patch) -> None:
    choose = Cluster.choose

    def again(self: Cluster, selection: Selection, now: float) -> Any:
        return choose(self, selection.retrying(), now)

    patch(Cluster, "choose", again)


@bug("retry-budget", "overload", 40)
def hedges_cost_nothing(patch: Patch) -> None:
    """Of the budget, so they go on when all is slow."""

    def plant(name: str) -> None:
        real = getattr(Call, name)

        def passed(self: Call) -> None:
            budget, self._calls.budget = self._calls.budget, RetryBudget(1.0, 1e9)
            real(self)
            self._calls.budget = budget

        patch(Call, name, passed)

    plant("mark_passed")
    plant("delay_passed")


@bug("dghl", seeds=20)
def slower_leg_runs_on(patch: Patch) -> None:
    patch(Call, "_drop", lambda self, winner_began: None)


@bug("l", seeds=20)
def hedged_while_a_hedge_runs(patch: Patch) -> None:
    """The bound of two is forgotten, and the next hedge comes a moment later, silent or not."""
    passed = Call.delay_passed

    def again(self: Call) -> None:
        calls, now = self._calls, self._calls.seconds()
        if len(self._legs) < 2:
            passed(self)
        else:
            self._try(now)
        if self._hedge_s is None and self._legs:
            self._hedge_s = 0.005
            calls.hedges.set(self, now, self._hedge_s)

    patch(Call, "delay_passed", again)


@bug("o", seeds=20)
def no_second_chance(patch: Patch) -> None:
    """As long as the instance is silent, so is the call, to its end."""
    patch(Call, "mark_passed", lambda self: None)
    patch(Call, "delay_passed", lambda self: None)


@bug("l", seeds=20)
def everybody_is_late(patch: Patch) -> None:
    """A second chance for whoever has waited a little: twice the load when all is slow."""

    def hasty(self: Hedging, after: Any) -> None:
        init(self, after)
        self.marks = (0.001, 0.002) if self.marks else ()

    init = Hedging.__init__
    patch(Hedging, "__init__", hasty)
    patch(Hedging, "is_late", lambda self, waited_s, timeout_s: True)
    patch(Hedging, "is_half_over", lambda self, elapsed_s, timeout_s: True)


@bug("h")
def time_of_an_attempt_left(patch: Patch) -> None:
    """Of an attempt that has ended before."""
    clear = Deadlines.clear

    def forget(self: Deadlines[Any], who: Any, after_s: float) -> None:
        if not isinstance(who, Leg):
            clear(self, who, after_s)

    patch(Deadlines, "clear", forget)
