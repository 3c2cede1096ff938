"""Shrinking of a failing plan: delta debugging over the schedule of faults, then simpler settings of the world.

This is Zeller's ddmin: remove halves, then quarters, and so on, as long as the same checker reports a violation. No
remaining fault can be removed alone without losing the violation, unless the limit of runs was reached. The times of
the other faults do not change when one is removed. Then simpler settings are tried, each once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from simulator.virtual.plan import PlannedFault, RunPlan
    from simulator.virtual.result import Result

    Run = Callable[[RunPlan], Result]

_MOST_RUNS = 400


class NothingToShrinkError(ValueError):
    """A plan cannot be shrunk, because its run has no violation."""


class Shrinker:
    """Shrinks one failing plan.

    Args:
        run: Runs a plan.
        progress: Called after each run of a changed plan, with the number of these runs, and the number of faults in
            the smallest failing plan; `None` for no call.
    """

    def __init__(self, run: Run, progress: Callable[[int, int], None] | None = None) -> None:
        self._run = run
        self._progress = progress
        self.runs = 0

    def shrink(self, plan: RunPlan) -> tuple[RunPlan, Result]:
        """Return the smallest failing plan that was found, and its result.

        Raises:
            NothingToShrinkError: The run of the plan has no violation.
        """
        self._best = self._run(plan)
        if not self._best.violations:
            raise NothingToShrinkError(f"seed {plan.seed} of profile {plan.profile} fails no checker")
        self._checker = self._best.violations[0].checker
        self._cut_the_end()
        self._drop_steps()
        for change in _simplifications(self._best.plan):
            self._fails(self._best.plan.but(**change))
        self._drop_steps()
        return self._best.plan, self._best

    def _fails(self, plan: RunPlan) -> bool:
        """Run a changed plan, and keep it if the same checker reports a violation.

        Returns:
            Whether the plan was kept. When the limit of runs is reached, `False` without a run.
        """
        if self.runs >= _MOST_RUNS:
            return False
        self.runs += 1
        result = self._run(plan)
        fails = any(violation.checker == self._checker for violation in result.violations)
        if fails:
            self._best = result
        if self._progress is not None:
            self._progress(self.runs, len(self._best.plan.steps))
        return fails

    def _cut_the_end(self) -> None:
        """Remove the faults that begin after the violation.

        The times of faults count from the end of the warm-up, and the time of the violation from the start of the run.
        Therefore, faults that begin within the length of the warm-up after the violation are kept.
        """
        plan = self._best.plan
        at_s = self._best.violations[0].at_s
        self._fails(plan.but(steps=tuple(step for step in plan.steps if step.at_s <= at_s)))

    def _drop_steps(self) -> None:
        pieces = 2
        while len(self._best.plan.steps) >= 1:
            for rest in _without_each(self._best.plan.steps, pieces):
                if self._fails(self._best.plan.but(steps=rest)):
                    pieces = max(pieces - 1, 2)
                    break
            else:
                if pieces >= len(self._best.plan.steps):
                    return
                pieces = min(pieces * 2, len(self._best.plan.steps))


def _without_each(steps: Sequence[PlannedFault], pieces: int) -> Iterator[tuple[PlannedFault, ...]]:
    size = -(-len(steps) // pieces)
    for at in range(0, len(steps), size):
        yield (*steps[:at], *steps[at + size :])


def _simplifications(plan: RunPlan) -> Iterator[dict[str, Any]]:
    """Yield changes that simplify the plan; each is tried once."""
    yield {"large": 0.0, "cancelled": 0.0, "work_s": 0.0}
    yield {"cancelled": 0.0}
    yield {"large": 0.0}
    yield {"clients": 1}
    yield {"services": 1}
    yield {"restarts_s": 0.0}
    yield {"addresses": "ports"}
    yield {"is_named": False}
    yield {"is_monotonic": False}
    yield {"gateway": ""}
    yield {"weights": ()}
    yield {"has_token": False}
    yield {"jitter_s": 0.0}
    last_s = max((step.at_s + step.for_s for step in plan.steps), default=0.0)
    yield {"chaos_s": round(last_s + 2.0, 3)}
    for name in plan.client:
        yield {"client": {key: value for key, value in plan.client.items() if key != name}}
