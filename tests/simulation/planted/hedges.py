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
def hedges_do_not_use_the_budget(patch: Patch) -> None:
    """The number of hedges has no limit, even when all instances are slow."""

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
def losing_attempt_not_closed(patch: Patch) -> None:
    patch(Call, "_drop", lambda self, winner_began: None)


@bug("hedge-rules", seeds=20)
def hedged_while_a_hedge_runs(patch: Patch) -> None:
    """A call may have more than two attempts at a time, and the next hedge follows after 5 ms."""
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
    """A call on a silent instance waits until its deadline."""
    patch(Call, "hedge_point_passed", lambda self: None)
    patch(Call, "delay_passed", lambda self: None)


@bug("hedge-rules", seeds=20)
def hedged_too_early(patch: Patch) -> None:
    """Every call is hedged after a thousandth of its time."""

    def hasty(self: Hedging, after: Any) -> None:
        init(self, after)
        self.hedge_points = (0.001, 0.002) if self.hedge_points else ()

    init = Hedging.__init__
    patch(Hedging, "__init__", hasty)
    patch(Hedging, "is_late", lambda self, waited_s, timeout_s: True)
    patch(Hedging, "is_half_over", lambda self, elapsed_s, timeout_s: True)


@bug("nothing-left stream-break-explained")
def attempt_deadline_not_cleared(patch: Patch) -> None:
    """The timer of `attempt_timeout_s` stays scheduled when its attempt has ended."""
    clear = Deadlines.clear

    def forget(self: Deadlines[Any], who: Any, after_s: float) -> None:
        if not isinstance(who, Attempt):
            clear(self, who, after_s)

    patch(Deadlines, "clear", forget)
