"""A result told to people: what was drawn, what happened last, what was wrong, and how to see it again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulator.virtual.nemesis import DEFAULT_HOURS
from simulator.virtual.oracle import CHECKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.virtual.plan import Plan
    from simulator.virtual.result import Result

LINES = 100
_WELL = re.compile(r"\S+ call (\S+) ok ")
_CALL = re.compile(r"call (\d+\.\d+)")


def replay_line(plan: Plan, hours: float = DEFAULT_HOURS) -> str:
    """What to type to see a seed's run again."""
    extra = "" if hours == DEFAULT_HOURS else f" --hours {hours:g}"
    return f"python -m simulator simulate --seed {plan.seed} --profile {plan.profile}{extra}"


def tail(result: Result, lines: int = LINES) -> list[str]:
    """The end of the event log: faults, failures, and calls that a violation names; what went well is summed up."""
    named = {name for violation in result.violations for name in _CALL.findall(violation.says)}
    told: list[str] = []
    well = 0
    for line in reversed(result.log):
        if len(told) >= lines:
            break
        match = _WELL.match(line)
        if match and match[1] not in named:
            well += 1
            continue
        if well:
            told.append(f"{'':>10} … {well} calls well answered")
            well = 0
        told.append(line)
    return told[lines - 1 :: -1]


def account(result: Result) -> list[str]:
    """How it went, in a few lines."""
    how = (
        f"seed {result.plan.seed}, {result.plan.profile}: {result.simulated_s / 3600:.3f} h simulated, {result.calls} "
        f"calls, {result.failed} failed by faults, {result.lost} lost, {sum(result.faults.values())} faults"
    )
    return [
        how,
        f"faults: {_counts(result.faults.items())}",
        f"attempts that failed: {_counts(result.conditions.items())}; retries: {_counts(result.retries.items())}",
        "; ".join(f"{name} {value:g}" for name, value in result.load.items()) or "no load figures",
        f"hash {result.digest}",
    ]


def explain(result: Result, replay: str) -> list[str]:
    """Everything somebody needs who has not written the code."""
    found = [f"VIOLATION {violation}\n  promised: {CHECKERS[violation.checker]}" for violation in result.violations]
    return [
        *result.plan.expanded(),
        "",
        f"the last of the event log ({LINES} lines at most; times in virtual seconds):",
        *tail(result),
        "",
        *found,
        "",
        f"see it again: {replay}",
    ]


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    shown: Sequence[tuple[str, int]] = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count}" for name, count in shown) or "none"
