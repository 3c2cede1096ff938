"""Measure rows per second on one core, CPU per row and peak memory of programs that score a file, and print a table.

Each program reads JSON Lines, sends each row, and writes the answers in the order of the rows as JSON Lines. It runs in
its own process and environment on one core; nginx runs on the other. CPU and memory of the whole process are measured,
including its start, so `--rows` should be large. The runs of the programs are interleaved. `--only ours,aiohttp`
selects programs, `--json` prints the figures. On a busy machine the program prints no table and ends with exit code 3,
unless `--busy` is given. `--only ours --rows 1000000` shows that memory does not depend on the number of rows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import report
from environments import python_of
from neutral import nginx
from quiet import Quiet

PEERS = {
    # name: (arguments of the interpreter, packages of its environment or None for this one, share of the rows, title)
    "ours": (["-m", "eas_tw.cli", "score"], None, 1.0, "`eas-tw score`, resumable"),
    "ours-partition": ([str(HERE / "drivers" / "ours_partition.py")], None, 1.0, "`score_partition`, blocking"),
    "aiohttp": ([str(HERE / "drivers" / "with_aiohttp.py")], ["aiohttp", "uvloop"], 1.0, "aiohttp + uvloop, a script"),
    "official": (
        [str(HERE / "drivers" / "with_official.py")],
        ["eas-prediction==0.36", "protobuf==3.20.3"],
        0.2,
        "official SDK, a script with 16 threads",
    ),
}


def main() -> None:
    given = _options()
    names = given.only.split(",")
    pythons = {name: python_of(given.environments, name, PEERS[name][1]) for name in names}
    cores = sorted(os.sched_getaffinity(0))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    quiet = Quiet.begin()
    with nginx(3, core=cores[-1]) as ports, tempfile.TemporaryDirectory() as folder:
        for run in range(given.runs):
            for name in names:
                runs[name].append(_measure(pythons[name], name, ports, given, cores[0], Path(folder)))
            print(f"run {run + 1} of {given.runs}", file=sys.stderr, flush=True)
    quiet.finish()
    rows = {name: _row(found) for name, found in runs.items()}
    report.publish(given, quiet, {"rows": given.rows, "peers": rows}, _table(rows))


def _options() -> argparse.Namespace:
    options = report.parser(__doc__, PEERS, runs=5, environments=HERE.parents[1] / ".tox" / "bench-peers")
    options.add_argument("--rows", type=int, default=100_000, help="rows of the fast programs (default: %(default)s)")
    options.add_argument("--in-flight", type=int, default=64, help="requests in flight (default: %(default)s)")
    return report.parse(options, PEERS)


def _measure(
    python: str, name: str, ports: list[int], given: argparse.Namespace, core: int, folder: Path
) -> dict[str, float]:
    arguments, _, share, _ = PEERS[name]
    count = int(given.rows * share)
    rows, output = folder / f"{count}.jsonl", folder / f"{name}.jsonl"
    if not rows.exists():
        with rows.open("w") as file:
            file.writelines(f'{{"id": {number}, "money_credit": 3000000, "age": 42}}\n' for number in range(count))
    command = [python, *arguments, str(rows), "--output", str(output), "--in-flight", str(given.in_flight)]
    command += ["--quiet", "--overwrite"] if name == "ours" else ["--ports", ",".join(map(str, ports))]
    variables = {
        **os.environ,
        "EAS_ENDPOINT": f"http://127.0.0.1:{ports[0]}",
        "EAS_SERVICE": "bench",
        "EAS_TOKEN": "0123456789abcdef",
        "PYTHONPATH": str(HERE.parents[1]) if PEERS[name][1] is None else "",
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=variables, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    written = sum(1 for _ in output.open("rb"))
    if process.returncode or written != count:
        sys.exit(f"{name} ended with {process.returncode} and {written} of {count} rows")
    cpu_s = used.ru_utime + used.ru_stime
    return {"rows": count, "wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": used.ru_maxrss / 1024}


def _row(runs: list[dict[str, float]]) -> dict[str, float]:
    return {
        "rows_per_s_median": statistics.median(run["rows"] / run["wall_s"] for run in runs),
        "cpu_us_min": min(run["cpu_s"] / run["rows"] * 1e6 for run in runs),
        "peak_mb_max": max(run["peak_mb"] for run in runs),
        "runs": len(runs),
    }


def _table(rows: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| program | rows / s, median | CPU µs / row, minimum | peak MB | × official | × aiohttp |"]
    lines.append("|---|---|---|---|---|---|")
    for name, row in rows.items():
        ratios = [
            f"{row['rows_per_s_median'] / rows[peer]['rows_per_s_median']:.2f}" if peer in rows else ""
            for peer in ("official", "aiohttp")
        ]
        lines.append(
            f"| {PEERS[name][3]} | {row['rows_per_s_median']:,.0f} | {row['cpu_us_min']:.1f} "
            f"| {row['peak_mb_max']:.0f} | {ratios[0]} | {ratios[1]} |"
        )
    return lines


if __name__ == "__main__":
    main()
