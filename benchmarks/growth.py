"""Measure how the client's costs grow: with instances, calls in flight, bodies, processes, and long lists.

Each case is one program (`drivers/growing.py`) on one core, against nginx or the server of the stream benchmarks on the
other. `--only` selects groups, `--json` prints the figures, `--output FILE` writes them. On a busy machine the program
prints no table and ends with exit code 3, unless `--busy` is given.

The groups and their targets:

instances   3, 100 and 1,000 instances: CPU per call with 1,000 at most 1.25 times that with 3
in-flight   1 to 1,000 concurrent calls
bodies      52 bytes to 8 MiB each way
held        10,000 calls in flight, each with a connection: at most 24 KiB each; lag of the burst at most 50 ms
list        a list of 10,000 instances: lag at most 50 ms
response    one response of 64 MiB: lag at most 50 ms
processes   one process, and two concurrent ones: calls per second
discovery   1,000 clients that only poll, as 1,000 processes do: polls per second, CPU per poll
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import report
from neutral import nginx
from quiet import Quiet

HERE = Path(__file__).parent

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB = 1 << 20
_HELD = 10_000
_FILES = 2 * _HELD + 200
"""The limit of open files. Each end of a held call is a socket of its process, so one limit suits both processes."""


class Case(NamedTuple):
    """One measurement.

    Attributes:
        options: Options of the driver.
        instances: Number of nginx's ports; number of rows in the list if the server is that of the stream benchmarks.
        response_bytes: Length of nginx's responses; 0 for the server of the stream benchmarks.
        processes: How many drivers run concurrently.
    """

    options: str
    instances: int = 3
    response_bytes: int = 16
    processes: int = 1


def _body(size: int) -> Case:
    # So many calls that they take about a second, but at least 32; 8 of them are in flight.
    calls = max(32, min(10_000, (256 << 20) // (size + 10_000)))
    return Case(f"calls --calls {calls} --in-flight 8 --body-bytes {size}", response_bytes=size)


GROUPS: dict[str, dict[str, Case]] = {
    "instances": {f"{count} instances": Case("calls", instances=count) for count in (3, 100, 1000)},
    "in-flight": {f"{count} in flight": Case(f"calls --in-flight {count}") for count in (1, 10, 100, 1000)},
    "bodies": {f"{size} bytes each way": _body(size) for size in (52, 3 << 10, 64 << 10, _MIB, 8 * _MIB)},
    "held": {f"{_HELD} in flight": Case(f"held --in-flight {_HELD}", instances=1, response_bytes=0)},
    "list": {"10,000 instances": Case("list", instances=10_000, response_bytes=0)},
    "response": {"one response of 64 MiB": Case("calls --calls 4 --in-flight 1", response_bytes=64 * _MIB)},
    "processes": {f"{count} processes": Case("calls --calls 40000", processes=count) for count in (1, 2)},
    "discovery": {"1,000 clients": Case("discovery", instances=100, response_bytes=0)},
}


def main() -> None:
    options = report.parser(__doc__, GROUPS, runs=3, environments=HERE.parent / ".tox" / "bench-growth")
    given = report.parse(options, GROUPS)
    _allow_files()
    cases = {(group, name): case for group in given.only.split(",") for name, case in GROUPS[group].items()}
    runs: dict[tuple[str, str], list[dict[str, float]]] = {key: [] for key in cases}
    quiet = Quiet.begin()
    for run in range(given.runs):
        for key, case in cases.items():
            runs[key].append(_measure(case))
        print(f"run {run + 1} of {given.runs}", file=sys.stderr, flush=True)
    quiet.finish()
    rows = {f"{group}: {name}": _least(found) for (group, name), found in runs.items()}
    report.publish(given, quiet, {"work": given.only, "cases": rows}, _table(rows))


def _measure(case: Case) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    with _server(case, cores[-1]) as endpoint:
        command = [sys.executable, str(HERE / "drivers" / "growing.py"), *_options(case, endpoint)]
        # One process leaves a core to the server. Two processes share both cores with it.
        only = {cores[0]} if case.processes == 1 else set(cores)
        drivers = [
            subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, only)
            )
            for _ in range(case.processes)
        ]
        outputs = [driver.communicate(timeout=300)[0] for driver in drivers]
    if any(driver.returncode for driver in drivers):
        sys.exit(f"benchmarks: {' '.join(command)} failed")
    found: list[dict[str, float]] = [json.loads(output.splitlines()[-1]) for output in outputs]
    # The rates of the processes are added; of every other figure, the worst is used.
    return {name: (sum if name.endswith("_per_s") else max)(each[name] for each in found) for name in found[0]}


def _options(case: Case, endpoint: str) -> list[str]:
    what, *others = case.options.split()
    return [what, endpoint, *others]


@contextlib.contextmanager
def _server(case: Case, core: int) -> Iterator[str]:
    """Run the server of a case, and yield the endpoint of discovery."""
    if case.response_bytes:
        with nginx(case.instances, core=core, response_bytes=case.response_bytes) as ports:
            yield f"127.0.0.1:{ports[0]}"
        return
    # Each response ends after minutes, so that its call stays in flight.
    command = [sys.executable, str(HERE / "streams" / "server.py"), "--events", "2", "--rate", "0.01"]
    command += ["--rows", str(case.instances)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    ) as process:
        try:
            assert process.stdout is not None
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _least(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the best value of each figure, because other load on the machine can only make it worse."""
    return {name: (max if name.endswith("_per_s") else min)(run[name] for run in runs) for name in runs[0]}


def _table(rows: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| case | figures, best of the runs |", "|---|---|"]
    lines += [
        f"| {name} | {', '.join(f'{figure} {value:,.1f}' for figure, value in row.items())} |"
        for name, row in rows.items()
    ]
    return lines


def _allow_files() -> None:
    """Raise the limit of open files, which the driver and the server inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    main()
