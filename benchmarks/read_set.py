"""Measure the CPU time that `eas_tw.net.read_set` saves, with 1, 32 and 256 calls in flight.

For each row, one process has a client with the read set and one without, and alternates between batches of calls of the
two. nginx runs on the other core.
`--json` prints the figures, `--output FILE` writes them. On a busy machine the program prints no table and ends with
exit code 3, unless `--busy` is given.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import report
from environments import python_of
from neutral import nginx
from quiet import Quiet

HERE = Path(__file__).parent
ROWS = {"1 epoll": (1, "epoll"), "32 epoll": (32, "epoll"), "32 uvloop": (32, "uvloop"), "256 epoll": (256, "epoll")}


def main() -> None:
    given = report.parse(report.parser(__doc__, ROWS, runs=1, environments=HERE.parent / ".tox" / "bench-peers"), ROWS)
    cores = sorted(os.sched_getaffinity(0))
    python = python_of(given.environments, "ours-aio", ["-e", str(HERE.parent), "uvloop"])
    rows: dict[str, dict[str, float]] = {}
    quiet = Quiet.begin()
    with nginx(3, core=cores[-1]) as ports:
        for name in given.only.split(","):
            in_flight, reactor = ROWS[name]
            command = [python, str(HERE / "drivers" / "with_and_without.py"), f"127.0.0.1:{ports[0]}", str(ports[0])]
            command += ["--in-flight", str(in_flight), "--reactor", reactor]
            output = subprocess.run(
                command,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]}),
            ).stdout
            rows[name] = json.loads(output.splitlines()[-1])
    quiet.finish()
    lines = ["| in flight, reactor | with ÷ without, median | minimum with | without |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['median_ratio']:.2f} | {row['with_us']:.1f} µs | {row['without_us']:.1f} µs |"
        for name, row in rows.items()
    ]
    report.publish(given, quiet, {"rows": rows}, lines)


if __name__ == "__main__":
    main()
