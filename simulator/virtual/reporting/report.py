"""The report of a run: the plan, the last events, the violations, and the command that repeats the run."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from simulator.virtual.nemesis import DEFAULT_HOURS
from simulator.virtual.oracle import CHECKERS
from simulator.virtual.reporting.formatting import few

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.virtual.oracle import Violation
    from simulator.virtual.plan import RunPlan
    from simulator.virtual.result import Result

LINES = 100
_CALL = re.compile(r"call (\d+\.\d+)")
_WELL = re.compile(r"\S+ call (?P<call>\S+) ok in \S+ ms from [^,]*(?:, after (?P<failed>.*))?$")
_POLL = re.compile(r"\S+ (?P<poll>discovery answers client .*|client \d+ keeps its list: .*)$")
WORDS = {
    "connect_refused": "the port refuses connections",
    "connect_timeout": "no connection within connect_timeout_s",
    "local_resource": "the client's host had no descriptor, port, route or memory; neither an attempt nor a failure",
    "connect_failed": "no connection, for another reason",
    "stale": "a reused connection was closed while the request was sent; neither an attempt nor a failure",
    "unsent": "a reused connection was closed before the request was sent; neither an attempt nor a failure",
    "lost": "a new connection was lost before the first byte of the answer",
    "cut": "the connection was lost inside the answer",
    "attempt_timeout": "attempt_timeout_s passed",
    "late": "silent for far longer than usual, while the instance of a hedge answered",
    "waited": "the deadline passed in the queue for a connection; nothing was sent",
    "retired": "the instance left the list while the call waited for a connection",
    "overloaded": "too many calls wait for the instance's connections; nothing was sent",
    "violation": "the answer is not the HTTP/1.1 that the client accepts",
    "deadline": "the call's time, timeout_s, passed during the attempt",
    "cancelled": "an attempt that was stopped, because another one was answered or the program cancelled the call",
    "CancelledError": "the program cancelled the call",
    "leaves out": "ejected: the instance gets no calls for a while, then one, the probe; if that fails, again",
    "takes back": "its probe was answered, or too few would have been left without it",
}
"""Words of the event log with their meanings; attempt statuses are those of `AttemptStatus`."""


def replay_line(plan: RunPlan, hours: float = DEFAULT_HOURS) -> str:
    """Format the command that repeats the run of a seed."""
    extra = "" if hours == DEFAULT_HOURS else f" --hours {hours:g}"
    return f"python -m simulator simulate --seed {plan.seed} --profile {plan.profile}{extra}"


class _Fold:
    """Summarises consecutive lines about successful calls and polls.

    Args:
        named: Names of the calls whose lines are not summarised, because a violation names them.
    """

    def __init__(self, named: set[str]) -> None:
        self._named = named
        self._begin()

    def _begin(self) -> None:
        self._well = self._retried = 0
        self._failed: Counter[str] = Counter()
        self._polls: Counter[str] = Counter()

    def takes(self, line: str) -> bool:
        """Add a line to the summary if it is about a successful call or a poll; return whether it was added."""
        if poll := _POLL.match(line):
            self._polls[poll["poll"]] += 1
            return True
        well = _WELL.match(line)
        if well is None or well["call"] in self._named:
            return False
        self._well += 1
        if well["failed"]:
            self._retried += 1
            self._failed.update(well["failed"].split(", "))
        return True

    def told(self) -> list[str]:
        """Return the summary as a list of at most one line, and reset the counts."""
        parts = []
        if self._well:
            retried = f", {self._retried} of them after failed attempts: " if self._retried else ""
            parts.append(f"{self._well} calls well answered{retried}{_most(self._failed)}")
        if self._polls:
            parts.append(_most(self._polls))
        self._begin()
        return [f"{'':>10} … {' | '.join(parts)}"] if parts else []


def tail(result: Result, lines: int = LINES) -> list[str]:
    """Return the end of the event log, with summaries of polls and of successful calls that no violation names."""
    fold = _Fold({name for violation in result.violations for name in _CALL.findall(violation.says)})
    told: list[str] = []
    for line in reversed(result.log):
        if len(told) >= lines:
            break
        if not fold.takes(line):
            told += [*fold.told(), line]
    return told[lines - 1 :: -1]


def account(result: Result) -> list[str]:
    """Summarise a result in a few lines."""
    how = (
        f"seed {result.plan.seed}, {result.plan.profile}: {result.simulated_s / 3600:.3f} h simulated, {result.calls} "
        f"calls, {result.failed} failed by faults, {result.lost} lost without one, {sum(result.faults.values())} faults"
    )
    return [
        how,
        f"faults: {_counts(result.faults.items())}",
        f"attempts that failed: {_counts(result.attempt_statuses.items())}; retries: {_counts(result.retries.items())}",
        "; ".join(f"{name} {value:g}" for name, value in result.load.items()) or "no load figures",
        f"hash {result.digest}",
    ]


def explain(result: Result, replay: str) -> list[str]:
    """Explain a violation to a reader who does not know the code."""
    log = tail(result)
    spoken = "\n".join(log)
    words = [f"  {word}: {meaning}" for word, meaning in WORDS.items() if re.search(rf"\b{word}\b", spoken)]
    until_s = result.violations[0].at_s if result.violations else result.simulated_s
    return [
        *result.plan.expanded(result.chaos_at_s, until_s),
        "",
        f"the last of the event log ({LINES} lines at most; times in virtual seconds; call 0.7 is client 0's seventh):",
        *log,
        "",
        *(["in these words:", *words, ""] if words else []),
        *_verdict(result.violations),
        "",
        f"see it again: {replay}",
    ]


def _verdict(violations: Sequence[Violation]) -> list[str]:
    """Describe the first violation, which is usually the cause of the others."""
    if not violations:
        return ["no violation"]
    first, more = violations[0], len(violations) - 1
    told = [f"VIOLATION {first}", f"  promised: {CHECKERS[first.checker]}"]
    return [*told, f"  and {more} more after it, in the log"] if more else told


def _most(counts: Counter[str]) -> str:
    return few((f"{what} ({n})" if n > 1 else what for what, n in counts.most_common()), "; ")


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    shown: Sequence[tuple[str, int]] = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count}" for name, count in shown) or "none"
