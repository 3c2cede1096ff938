"""Bugs of late hedges."""

from __future__ import annotations

from typing import Any

from eas_tw.net.attempt import Attempt
from eas_tw.net.call import Call
from eas_tw.net.deadlines import Deadlines
from eas_tw.policy.cluster import Cluster
from eas_tw.policy.hedging import Hedging
from eas_tw.policy.retry import RetryBudget
from eas_tw.policy.selection import Selection
from tests.simulation.planted.bugs import Patch, bug


@bug("attempts-within-limit hedge-rules", seeds=20)
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
            budget, self._context.budget = self._context.budget, RetryBudget(1.0, 1e9)
            real(self)
            self._context.budget = budget

        patch(Call, name, passed)

    plant("hedge_point_passed")
    plant("delay_passed")


@bug("connection-use exact-shares nothing-left hedge-rules", seeds=20)
def slower_attempt_runs_on(patch: Patch) -> None:
    patch(Call, "_drop", lambda self, winner_began: None)


@bug("hedge-rules", seeds=20)
def hedged_while_a_hedge_runs(patch: Patch) -> None:
    """The bound of two is forgotten, and the next hedge comes a moment later, silent or not."""
    passed = Call.delay_passed

    def again(self: Call) -> None:
        calls, now = self._context, self._context.seconds()
        if len(self._attempts) < 2:
            passed(self)
        else:
            self._try(now)
        if self._hedge_s is None and self._attempts:
            self._hedge_s = 0.005
            calls.hedges.set(self, now, self._hedge_s)

    patch(Call, "delay_passed", again)


@bug("late-hedge", seeds=20)
def no_late_hedge(patch: Patch) -> None:
    """As long as the instance is silent, so is the call, to its end."""
    patch(Call, "hedge_point_passed", lambda self: None)
    patch(Call, "delay_passed", lambda self: None)


@bug("hedge-rules", seeds=20)
def everybody_is_late(patch: Patch) -> None:
    """A late hedge for whoever has waited a little: twice the load when all is slow."""

    def hasty(self: Hedging, after: Any) -> None:
        init(self, after)
        self.hedge_points = (0.001, 0.002) if self.hedge_points else ()

    init = Hedging.__init__
    patch(Hedging, "__init__", hasty)
    patch(Hedging, "is_late", lambda self, waited_s, timeout_s: True)
    patch(Hedging, "is_half_over", lambda self, elapsed_s, timeout_s: True)


@bug("nothing-left")
def time_of_an_attempt_left(patch: Patch) -> None:
    """Of an attempt that has ended before."""
    clear = Deadlines.clear

    def forget(self: Deadlines[Any], who: Any, after_s: float) -> None:
        if not isinstance(who, Attempt):
            clear(self, who, after_s)

    patch(Deadlines, "clear", forget)
