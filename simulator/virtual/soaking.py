"""Runs many seeds on several processes, each seed in its own world, and adds up the results."""

from __future__ import annotations

import gc
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from attrs import define, field

from simulator.child_processes import end_with_parent
from simulator.virtual.nemesis import draw
from simulator.virtual.reporting.report import replay_line
from simulator.virtual.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from simulator.virtual.result import Result

_WAITING_PER_JOB = 3


@define
class Sum:
    """The sum of the results of many seeds; `skipped` counts the seeds that were not run."""

    seeds: int = 0
    skipped: int = 0
    simulated_s: float = 0.0
    calls: int = 0
    failed: int = 0
    lost: int = 0
    violations: list[dict[str, Any]] = field(factory=list)
    faults: Counter[str] = field(factory=Counter)
    attempt_statuses: Counter[str] = field(factory=Counter)
    retries: Counter[str] = field(factory=Counter)

    def add(self, result: Result, hours: float) -> None:
        """Add the result of a seed, with at most the first of its violations."""
        self.seeds += 1
        self.simulated_s += result.simulated_s
        self.calls += result.calls
        self.failed += result.failed
        self.lost += result.lost
        self.faults += result.faults
        self.attempt_statuses += result.attempt_statuses
        self.retries += result.retries
        self.violations += [
            {
                "seed": result.plan.seed,
                "checker": violation.checker,
                "says": violation.says,
                "replay": replay_line(result.plan, hours),
            }
            for violation in result.violations[:1]
        ]

    def merge(self, other: Sum) -> None:
        """Add the sum of another process."""
        for name in ("seeds", "skipped", "simulated_s", "calls", "failed", "lost"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.violations += other.violations
        self.faults += other.faults
        self.attempt_statuses += other.attempt_statuses
        self.retries += other.retries

    def to_json(self) -> dict[str, Any]:
        """Return the values of the last line of `soak --json`."""
        return {
            "seeds": self.seeds,
            "skipped": self.skipped,
            "simulated_s": round(self.simulated_s, 3),
            "calls": self.calls,
            "lost": self.lost,
            "violations": self.violations,
            "failed": self.failed,
            "faults": dict(self.faults),
            "attempt_statuses": dict(self.attempt_statuses),
            "retries": dict(self.retries),
        }


def run_seeds(seeds: Sequence[int], profile: str, hours: float, traffic: Sequence[str] = ()) -> Sum:
    """Run seeds one after the other in this process; skip those without one of the kinds of `traffic`."""
    # `collect` before `freeze`: garbage of the previous world would otherwise be frozen, and never freed.
    gc.collect()
    gc.freeze()
    total = Sum()
    for seed in seeds:
        plan = draw(seed, profile, hours)
        if all(map(plan.has, traffic)):
            total.add(World(plan).run(), hours)
        else:
            total.skipped += 1
    return total


def soak(
    seeds: range,
    profile: str,
    hours: float,
    *,
    jobs: int,
    traffic: Sequence[str] = (),
    chunk: int = 4,
    collect: bool = False,
    progress: Callable[[Sum], None] | None = None,
) -> Sum:
    """Run all seeds on `jobs` processes.

    Args:
        seeds: The seeds.
        profile: Profile of the plans, one of `PROFILES`.
        hours: Approximate length of each run, in virtual hours.
        jobs: Number of processes.
        traffic: Kinds of traffic, of `TRAFFIC`; seeds whose plan lacks one of them are skipped.
        chunk: Number of seeds that a process takes at a time.
        collect: Whether to continue after a violation.
        progress: Called with the sum whenever results were added; `None` for no call.
    """
    total = Sum()
    chunks = iter([seeds[at : at + chunk] for at in range(0, len(seeds), chunk)])
    # With "spawn", unlike "fork", a child process does not inherit the imports and threads of its parent.
    context = get_context("spawn")
    their_end, our_end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent, initargs=(their_end,))
    try:
        running = set(_submit(pool, chunks, jobs * _WAITING_PER_JOB, profile, hours, traffic))
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                total.merge(future.result())
            if progress is not None:
                progress(total)
            if total.violations and not collect:
                for future in running:
                    future.cancel()
                break
            running |= set(_submit(pool, chunks, len(done), profile, hours, traffic))
    finally:
        # Closing the pipe ends the processes: after a violation or an interrupt, running seeds are abandoned.
        our_end.close()
        pool.shutdown(cancel_futures=True)
        their_end.close()
    total.violations.sort(key=lambda violation: violation["seed"])
    return total


def _submit(
    pool: ProcessPoolExecutor,
    chunks: Iterator[range],
    count: int,
    profile: str,
    hours: float,
    traffic: Sequence[str],
) -> Iterator[Future[Sum]]:
    for _ in range(count):
        chunk = next(chunks, None)
        if chunk is not None:
            yield pool.submit(run_seeds, chunk, profile, hours, traffic)
