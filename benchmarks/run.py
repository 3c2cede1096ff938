"""Measure the CPU time per request of each client on the same work, and print a table with ratios.

Each client runs in its own process and environment on one core; nginx runs on the other. The runs of the clients are
interleaved. `--only ours,treq` selects clients, `--json` prints the figures, `--output FILE` writes them, and
`compare.py` compares two such files. The minimum of the runs is reported, because other load on the machine can only
add CPU time. On a busy machine the program prints no table and ends with exit code 3, unless `--busy` is given.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import report
from environments import python_of
from neutral import nginx
from quiet import Quiet

HERE = Path(__file__).parent
PEERS = {
    # name: (driver and its options, packages its environment needs or None for this environment, share of the calls)
    "ours": ("ours.py", None, 1.0),
    "ours-token": ("ours.py --auth token", None, 1.0),
    "ours-aio": ("ours_aio.py", ["-e", str(HERE.parent), "uvloop"], 1.0),
    "bare": ("bare.py", None, 1.0),
    "treq": ("treq_pool.py", None, 0.25),
    "aiohttp": ("aiohttp_uvloop.py", ["aiohttp", "uvloop"], 0.5),
    "official": ("official_python.py", ["eas-prediction==0.36", "protobuf==3.20.3"], 0.15),
    "official-16": ("official_python.py --threads 16", ["eas-prediction==0.36", "protobuf==3.20.3"], 0.15),
    "blocking-16": ("official_python.py --threads 16 --module eas_tw.blocking", None, 0.5),
}
SAYS = {
    "ours": "eas_tw, everything on",
    "ours-token": 'eas_tw, `auth="token"`',
    "ours-aio": "eas_tw.aio on uvloop",
    "bare": "bare httptools on Twisted: the lower bound",
    "treq": "treq with a pool",
    "aiohttp": "aiohttp + uvloop",
    "official": "official Python SDK, 8 threads",
    "official-16": "official Python SDK, 16 threads",
    "blocking-16": "eas_tw.blocking, 16 threads",
}
_USUAL = ("ours", "ours-token", "bare", "treq", "aiohttp", "official", "official-16", "blocking-16")


def main() -> None:
    given = _options()
    names = given.only.split(",")
    pythons = {name: python_of(given.environments, name, PEERS[name][1]) for name in names}
    cores = sorted(os.sched_getaffinity(0))
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    quiet = Quiet.begin()
    with nginx(given.instances, core=cores[-1], response_bytes=given.response_bytes) as ports:
        for run in range(given.runs):
            for name in names:
                figures[name].append(_measure(pythons[name], name, ports, given, cores[0]))
            print(f"run {run + 1} of {given.runs}", file=sys.stderr, flush=True)
    quiet.finish()
    rows = {name: _row(runs) for name, runs in figures.items()}
    work = {name: getattr(given, name) for name in ("instances", "in_flight", "body_bytes", "response_bytes")}
    report.publish(given, quiet, {"work": work, "peers": rows}, _table(rows))


def _options() -> argparse.Namespace:
    options = report.parser(__doc__, _USUAL, runs=7, environments=HERE.parent / ".tox" / "bench-peers")
    options.add_argument("--calls", type=int, default=20_000, help="calls of a fast client (default: %(default)s)")
    options.add_argument("--in-flight", type=int, default=32, help="calls in flight (default: %(default)s)")
    options.add_argument("--instances", type=int, default=3, help="ports of nginx (default: %(default)s)")
    options.add_argument("--body-bytes", type=int, default=52, help="request body size (default: %(default)s)")
    options.add_argument("--response-bytes", type=int, default=16, help="response body size (default: %(default)s)")
    return report.parse(options, PEERS)


def _measure(python: str, name: str, ports: list[int], given: argparse.Namespace, core: int) -> dict[str, float]:
    driver, _, share = PEERS[name]
    program, *options = driver.split()
    command = [python, str(HERE / "drivers" / program), f"127.0.0.1:{ports[0]}", ",".join(map(str, ports)), *options]
    command += ["--calls", str(int(given.calls * share)), "--warm-up", str(min(2_000, given.calls))]
    command += ["--in-flight", str(given.in_flight), "--body-bytes", str(given.body_bytes)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(runs: list[dict[str, float]]) -> dict[str, float]:
    cpu_us = [run["cpu_s"] / run["calls"] * 1e6 for run in runs]
    rates = [run["calls"] / run["wall_s"] for run in runs]
    return {
        "cpu_us_median": statistics.median(cpu_us),
        "cpu_us_min": min(cpu_us),
        "requests_per_s_median": statistics.median(rates),
        "runs": len(runs),
    }


def _table(rows: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| client | CPU µs / request, median | minimum | requests / s | ÷ aiohttp | ÷ treq |"]
    lines.append("|---|---|---|---|---|---|")
    for name, row in rows.items():
        ratios = [
            f"{row['cpu_us_min'] / rows[peer]['cpu_us_min']:.2f}" if peer in rows else ""
            for peer in ("aiohttp", "treq")
        ]
        lines.append(
            f"| {SAYS[name]} | {row['cpu_us_median']:.1f} | {row['cpu_us_min']:.1f} "
            f"| {row['requests_per_s_median']:,.0f} | {ratios[0]} | {ratios[1]} |"
        )
    return lines


if __name__ == "__main__":
    main()
