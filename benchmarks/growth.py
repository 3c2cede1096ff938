"""Measure how the client's costs grow: with instances, calls in flight, bodies, processes, and long lists.

Each case is one program on one core (`growth_cases.py`), against a server on the other. `--only` selects groups,
`--json` prints the figures, `--output FILE` writes them, and `compare.py` compares two such files. On a busy machine
the program prints no table and ends with exit code 3, unless `--busy` is given. `--scale 0.01` is a trial, with a
hundredth of the work.

The groups and their targets:

instances   3, 100 and 1,000 instances: CPU per call with 1,000 at most 1.1 times the CPU per call with 3
in-flight   1, 32, 256 and 1,000 concurrent calls
bodies      52 B, 3 KiB, 600 KiB and 8 MiB in both directions: MB/s, compared with aiohttp and two bare sockets; with
            8 MiB and auth="token" at least 0.6 times the MB/s of the sockets
held        10,000 calls in flight, each with a connection: at most 24 KiB each; lag while they connect at most 50 ms
list        a list of 10,000 instances: lag at most 50 ms
response    one response of 64 MiB: lag at most 50 ms
latency     open loop at 25, 50 and 75 % of a client's saturation, for eas_tw, aiohttp and httpx2; eas_tw also at the
            rates of the other two
processes   one process, and two concurrent ones: calls per second
discovery   1,000 clients that only poll, as 1,000 processes do: polls per second, CPU per poll
hour        one hour at 2,000 calls per second, every tenth a stream: growth of memory, objects, files and timers; only
            if `--only` names it, with `--runs 1`
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import report
from environments import python_of
from growth_cases import CLIENTS, GROUPS, HELD, LONG, Case, judged
from neutral import nginx
from quiet import Quiet

HERE = Path(__file__).parent

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES = 2 * HELD + 200
"""The limit of open files. Each call of `held` has a socket in the driver and one in the server, so both need this."""
_TIMEOUT_S = 7200  # longer than the group `hour`


def main() -> None:
    given = _options()
    _allow_files()
    cases = {
        f"{group}: {name}": case.scaled(given.scale)
        for group in given.only.split(",")
        for name, case in GROUPS[group].items()
    }
    clients = {case.client for case in cases.values()}
    pythons = {client: python_of(given.environments, *_environment(client)) for client in sorted(clients)}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    quiet = Quiet.begin()
    for run in range(given.runs):
        for name, case in cases.items():
            options = ["--seconds", str(given.seconds)] if case.what == "discovery" else []
            if case.client.endswith("open loop"):
                options = ["--seconds", str(given.seconds)]
                if case.rates_of:
                    options += ["--saturation", str(runs[f"latency: {case.rates_of}"][run]["saturation_calls_per_s"])]
            runs[name].append(_measure(pythons[case.client], case, options))
        print(f"run {run + 1} of {given.runs}", file=sys.stderr, flush=True)
    quiet.finish()
    rows = {name: _least(found) for name, found in runs.items()}
    work = {"only": given.only, "scale": given.scale, "seconds": given.seconds}
    figures = {"work": work, "runs": given.runs, "cases": rows, "targets": judged(rows)}
    report.publish(given, quiet, figures, [*_table(rows), "", *_verdicts(rows)])


def _options() -> argparse.Namespace:
    options = report.parser(
        __doc__,
        [group for group in GROUPS if group not in LONG],
        runs=3,
        environments=HERE.parent / ".tox" / "bench-growth-peers",
    )
    options.add_argument("--scale", type=float, default=1.0, help="share of the work (default: %(default)s)")
    options.add_argument(
        "--seconds", type=float, default=10.0, help="of each rate, and of the group discovery (default: %(default)s)"
    )
    return report.parse(options, GROUPS)


def _environment(client: str) -> tuple[str, list[str] | None]:
    """Return the name of a client's environment, and its packages."""
    driver, needs = CLIENTS[client]
    return f"{Path(driver.split()[0]).stem}-{client.split(maxsplit=1)[0]}", needs


def _measure(python: str, case: Case, options: list[str]) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    with _server(case, cores[-1]) as ports:
        command = [python, *_command(case, ports), *options]
        # One process leaves a core to the server. Two processes share both cores with it.
        only = {cores[0]} if case.processes == 1 else set(cores)
        drivers = [
            subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, only)
            )
            for _ in range(case.processes)
        ]
        outputs = [driver.communicate(timeout=_TIMEOUT_S)[0] for driver in drivers]
    if any(driver.returncode for driver in drivers):
        sys.exit(f"benchmarks: {' '.join(command)} failed")
    found = [_figures(json.loads(output.splitlines()[-1]), case) for output in outputs]
    # Add the rates of the processes, and use the worst value of every other figure.
    return {name: (sum if name.endswith("_per_s") else max)(each[name] for each in found) for name in found[0]}


def _command(case: Case, ports: list[int]) -> list[str]:
    program, *options = CLIENTS[case.client][0].split()
    path, endpoint = str(HERE / "drivers" / program), f"127.0.0.1:{ports[0]}"
    options += ["--calls", str(case.calls), "--in-flight", str(case.in_flight), "--body-bytes", str(case.body_bytes)]
    if program == "growing.py":
        return [path, case.what, endpoint, *options]
    warm_up = max(1, case.calls // 10)
    more = ["--response-bytes", str(case.response_bytes)] if program == "sockets.py" else []
    return [path, endpoint, ",".join(map(str, ports)), *options, "--warm-up", str(warm_up), *more]


def _figures(found: dict[str, float], case: Case) -> dict[str, float]:
    """Convert the figures of a driver's output to the names and units of this program."""
    if "wall_s" in found:  # of `measuring.Account`
        calls = found["calls"]
        found = {"cpu_us_per_call": found["cpu_s"] / calls * 1e6, "calls_per_s": calls / found["wall_s"]}
    if case.server == "bodies":
        found["mb_per_s"] = found["calls_per_s"] * (case.body_bytes + case.response_bytes) / 1e6
    return found


@contextlib.contextmanager
def _server(case: Case, core: int) -> Iterator[list[int]]:
    """Run the server of a case, and yield its ports; the first one serves discovery, too."""
    if case.server == "nginx":
        with nginx(case.instances, core=core, response_bytes=case.response_bytes) as ports:
            yield ports
        return
    if case.server == "bodies":
        command = [sys.executable, str(HERE / "body_server.py"), "--response-bytes", str(case.response_bytes)]
    else:
        # Each response ends after minutes, so that its call stays in flight.
        command = [sys.executable, str(HERE / "streams" / "server.py"), "--events", "2", "--rate", "0.01"]
        command += ["--rows", str(case.instances)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    ) as process:
        try:
            assert process.stdout is not None
            yield [int(process.stdout.readline())]
        finally:
            process.terminate()


def _least(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the best value of each figure, because other load on the machine can only make it worse."""
    return {name: (max if name.endswith("_per_s") else min)(run[name] for run in runs) for name in runs[0]}


def _table(rows: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| case | figures, best of the runs |", "|---|---|"]
    lines += [
        f"| {name} | {', '.join(f'{figure} {value:,.2f}' for figure, value in row.items())} |"
        for name, row in rows.items()
    ]
    return lines


def _verdicts(rows: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| target | value | bound | met |", "|---|---|---|---|"]
    for row in judged(rows):
        name = f"{row['case']}: {row['figure']}{' ÷ ' if row['base'] else ''}{row['base']}"
        sign = "≥" if row["is_least"] else "≤"
        lines.append(f"| {name} | {row['value']:.2f} | {sign} {row['bound']:g} | {'yes' if row['is_met'] else 'no'} |")
    return lines


def _allow_files() -> None:
    """Raise the limit of open files, which the driver and the server inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    main()
