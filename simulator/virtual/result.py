"""The result of a run."""

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
    """The result of a run.

    Attributes:
        plan: The plan.
        digest: Hash of the event log and the trace.
        simulated_s: Length of the run, in virtual seconds.
        calls: Number of calls.
        failed: Number of failed calls, whether faults explain them or not.
        violations: Violations of invariants.
        faults: Number of faults that have begun, by kind.
        attempt_statuses: Number of failed attempts by attempt status.
        retries: Number of retries by the outcome of the attempt that was retried.
        load: Figures of a complete run. `imbalance`: requests of the busiest instance divided by the mean;
            `discovery_per_s`: discovery requests per second; `amplification`: requests divided by calls.
        chaos_at_s: Time at which the chaos phase began, in virtual seconds; the plan's times are relative to it.
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
        """Number of failed calls that no fault explains."""
        return sum(
            violation.checker
            in ("call-ends-once", "response-matches-request", "attempts-within-limit", "failure-explained")
            for violation in self.violations
        )

    def to_json(self) -> dict[str, Any]:
        """Return the values of the last line of `simulate --json`."""
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
