"""Measure puts and watched frames per CPU second of each client, against a simulated queue, and print a table.

Each client runs in its own process and environment on one core; the simulator runs on the other. The runs of the
clients are interleaved. `--only ours,official` selects clients, `--json` prints the figures, `--output FILE` writes
them. On a busy machine the program prints no table and ends with exit code 3, unless `--busy` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import report
from environments import python_of
from quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS = {
    # name: (driver and its options, packages its environment needs or None for this environment, description)
    "ours": ("ours.py", None, "eas_tw on Twisted"),
    "ours-blocking": ("blocking.py --module eas_tw.blocking", None, "eas_tw.blocking"),
    "official": ("blocking.py", ["eas-prediction==0.36", "protobuf==3.20.3"], "official Python SDK"),
}
_TOKEN = "t0ken"


def main() -> None:
    given = _options()
    names = given.only.split(",")
    pythons = {name: python_of(given.environments, name, PEERS[name][1]) for name in names}
    cores = sorted(os.sched_getaffinity(0))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    quiet = Quiet.begin()
    for _ in range(given.runs):
        for name in names:
            with simulator(cores[-1]) as url:
                runs[name].append(_measure(pythons[name], name, url, given, cores[0]))
    quiet.finish()
    rows = {name: {figure: max(run[figure] for run in found) for figure in found[0]} for name, found in runs.items()}
    work = {"frames": given.frames, "threads": given.threads, "body_bytes": given.body_bytes}
    report.publish(given, quiet, {"work": work, "peers": rows}, _table(rows))


@contextlib.contextmanager
def simulator(core: int) -> Iterator[str]:
    """Run a simulated queue service without workers on a processor, and yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        ready, scenario = Path(folder, "ready.json"), Path(folder, "queue.toml")
        scenario.write_text(
            f'[[services]]\nname = "bench"\ninstances = 1\ntoken = "{_TOKEN}"\nqueue_service = true\n'
            "queue_workers = false\n"
        )
        options = ["--port", "0", "--ready-file", str(ready), "--scenario", str(scenario)]
        with subprocess.Popen(
            [sys.executable, "-m", "simulator", *options],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        ) as process:
            try:
                assert process.stdout is not None
                while not process.stdout.readline().startswith("ready"):
                    assert process.poll() is None, "the simulator has ended"
                yield json.loads(ready.read_text())["url"]
            finally:
                process.terminate()


def _measure(python: str, name: str, url: str, given: argparse.Namespace, core: int) -> dict[str, float]:
    driver, *options = PEERS[name][0].split()
    command = [python, str(HERE / "drivers" / driver), *options, url]
    command += ["--frames", str(given.frames), "--threads", str(given.threads), "--body-bytes", str(given.body_bytes)]
    ended = subprocess.run(
        command,
        env={**os.environ, "EAS_TOKEN": _TOKEN},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    figures: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def _table(rows: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "| client | puts / CPU s | frames / CPU s |"
    yield "|---|---|---|"
    for name, row in rows.items():
        yield f"| {PEERS[name][2]} | {row['puts_per_cpu_s']:,.0f} | {row['frames_per_cpu_s']:,.0f} |"


def _options() -> argparse.Namespace:
    options = report.parser(__doc__, PEERS, runs=5, environments=HERE.parents[1] / ".tox" / "bench-queue-peers")
    options.add_argument("--frames", type=int, default=20_000, help="puts and frames of a run (default: %(default)s)")
    options.add_argument("--threads", type=int, default=8, help="puts in flight (default: %(default)s)")
    options.add_argument("--body-bytes", type=int, default=1000, help="size of a frame (default: %(default)s)")
    return report.parse(options, PEERS)


main()
