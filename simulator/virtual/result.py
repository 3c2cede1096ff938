"""What a run came to, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from simulator.virtual.oracle import Violation
    from simulator.virtual.plan import RunPlan


@frozen
class Result:
    """What a run came to.

    Attributes:
        plan: What was run.
        digest: Hash of everything that happened.
        simulated_s: How long it took in virtual time.
        calls: How many began.
        failed: Calls that failed; faults explain them, or there is a violation.
        violations: What should not have been.
        faults: How often each kind of fault struck, and what the clients' attempts met.
        attempt_statuses: How attempts that failed did so.
        retries: What was tried again, by what ended the attempt before.
        load: Requests of the busiest instance over the mean, and discovery requests a second, at the end.
        chaos_at_s: When the plan's faults began, whose times count from there.
        log: The last lines of the event log.
    """

    plan: RunPlan
    digest: str
    simulated_s: float
    calls: int
    failed: int
    violations: tuple[Violation, ...]
    faults: Counter[str]
    attempt_statuses: Counter[str]
    retries: Counter[str]
    load: Mapping[str, float]
    chaos_at_s: float
    log: Sequence[str] = field(repr=False)

    @property
    def lost(self) -> int:
        """Calls that failed though nothing explains it."""
        return sum(
            violation.checker
            in ("call-ends-once", "response-matches-request", "attempts-within-limit", "failure-explained")
            for violation in self.violations
        )

    def to_json(self) -> dict[str, Any]:
        """The last line of `simulate --json`."""
        return {
            "seed": self.plan.seed,
            "profile": self.plan.profile,
            "hash": self.digest,
            "simulated_s": round(self.simulated_s, 3),
            "calls": self.calls,
            "lost": self.lost,
            "violations": [str(violation) for violation in self.violations],
            "faults": dict(self.faults),
            "failed": self.failed,
            "retries": dict(self.retries),
            **self.load,
        }
