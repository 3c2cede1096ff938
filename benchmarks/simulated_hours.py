"""Measure the CPU time of a simulated hour: one default client, five instances, 2 calls/s, about one fault a minute.

The faults are drawn from the chaos profile; each seed draws other fault kinds. The profile draws more than one fault a
minute, so only every second or third fault is used. `--dense` uses all faults: one every twenty seconds on average.

    python benchmarks/simulated_hours.py --hours 1000 --jobs 2

Prints the sum over all processes. Other load on the machine can only increase the figure.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from functools import partial
from multiprocessing import get_context
from time import process_time
from typing import NamedTuple

from simulator.virtual.nemesis import draw
from simulator.virtual.oracle import Violation
from simulator.virtual.world import World

INSTANCES, PER_S, FAULTS_PER_H = 5, 2.0, 60
_HOURS_A_RUN = 4.0
"""Simulated hours of one run; building and discarding a world is then a negligible share of its CPU time."""
_OVERHEAD = 3 / 2
"""Ratio of the hours given to `draw` to the hours in which faults begin."""


class Share(NamedTuple):
    """The measured figures of one run."""

    seed: int
    cpu_s: float
    simulated_s: float
    calls: int
    failed: int
    faults: int
    violations: tuple[Violation, ...]


def run(seed: int, *, is_dense: bool = False) -> Share:
    """Run a chaos seed on a world of the default size, and return its figures."""
    drawn = draw(seed, "chaos", _HOURS_A_RUN * _OVERHEAD)
    every = 1 if is_dense else max(1, round(len(drawn.steps) / (FAULTS_PER_H * _HOURS_A_RUN)))
    plan = drawn.but(
        instances=INSTANCES, weights=(), clients=1, per_s=PER_S, burst=1, large=0.0, client={}, own=(),
        steps=drawn.steps[::every],
    )  # fmt: skip
    began = process_time()
    result = World(plan).run()
    cpu_s = process_time() - began
    faults = sum(result.faults.values())
    return Share(seed, cpu_s, result.simulated_s, result.calls, result.failed, faults, result.violations)


def main() -> int:
    """Run seeds until the requested hours are simulated, and print the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=40.0, help="hours to simulate (default: %(default)g)")
    parser.add_argument(
        "--jobs", type=int, choices=range(1, 65), metavar="N", default=1, help="processes to use (default: %(default)s)"
    )
    parser.add_argument("--dense", action="store_true", help="use every fault that is drawn")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    seeds = range(max(1, round(options.hours / _HOURS_A_RUN)))
    with get_context("spawn").Pool(options.jobs, gc.freeze) as pool:
        shares = []
        for share in pool.imap_unordered(partial(run, is_dense=options.dense), seeds):
            shares.append(share)
            for violation in share.violations:
                print(f"seed {share.seed}: {violation}", file=sys.stderr, flush=True)
    cpu_s, simulated_s, calls, failed, faults = (sum(column) for column in list(zip(*shares, strict=True))[1:-1])
    violations = sum(len(share.violations) for share in shares)
    hours = simulated_s / 3600
    found = {
        "simulated_h": round(hours, 1), "calls": calls, "failed_by_faults": failed, "faults": faults,
        "violations": violations, "cpu_s": round(cpu_s, 1), "cpu_s_per_h": round(cpu_s / hours, 3),
        "us_per_call": round(cpu_s / calls * 1e6, 1), "cpu_min_per_1000_h": round(cpu_s / hours * 1000 / 60, 1),
    }  # fmt: skip
    print(json.dumps(found) if options.json else "\n".join(f"{name:20} {value}" for name, value in found.items()))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
