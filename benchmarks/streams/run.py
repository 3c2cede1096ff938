"""Measure CPU per event, time to the first event and memory per open stream of each client, and print a table.

Each client runs in its own process and environment on one core; the server (`server.py`, which shares no code with the
clients) runs on the other. The runs of the clients are interleaved. CPU is counted while all streams run. `--only
ours,aiohttp` selects clients, `--json` prints the figures, `--output FILE` writes them. On a busy machine the program
prints no table and ends with exit code 3, unless `--busy` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import report
from environments import python_of
from quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = str(HERE.parents[1])
PEERS = {
    # name: (driver and its options, packages its environment needs or None for this environment, description)
    "ours": ("ours.py", None, "eas_tw on Twisted"),
    "ours-aio": ("ours_aio.py", ["-e", _OURS, "uvloop"], "eas_tw.aio on uvloop"),
    "aiohttp": ("aiohttp_uvloop.py", ["aiohttp", "uvloop"], "aiohttp + uvloop, lines"),
    "aiohttp-events": ("aiohttp_uvloop.py --events", ["aiohttp", "uvloop"], "aiohttp + uvloop, events"),
    "bare": ("bare.py", None, "bare protocol on Twisted: a lower bound"),
    "bare-uvloop": ("bare.py --uvloop", ["uvloop"], "bare protocol on uvloop: a lower bound"),
    "ours-pieces": ("ours.py --pieces", None, "eas_tw on Twisted, pieces"),
    "ours-aio-pieces": ("ours_aio.py --pieces", ["-e", _OURS, "uvloop"], "eas_tw.aio on uvloop, pieces"),
    "aiohttp-pieces": ("aiohttp_uvloop.py --pieces", ["aiohttp", "uvloop"], "aiohttp + uvloop, pieces"),
    "httpx2": ("httpx2_asyncio.py", ["httpx2"], "httpx2, lines"),
    "httpx2-ours": ("httpx2_asyncio.py --transport", ["-e", f"{_OURS}[httpx2]"], "httpx2 on eas_tw's transport, lines"),
    "openai": ("openai_asyncio.py", ["openai>=3.57"], "openai"),
    "openai-ours": (
        "openai_asyncio.py --transport",
        ["-e", f"{_OURS}[httpx2]", "openai>=3.57"],
        "openai on eas_tw's transport",
    ),
}
RATES = {1: 500.0, 100: 20.0, 1000: 10.0}
"""Events a second of each stream, by the number of streams."""
_TITLES = (
    "| client | CPU µs / event, minimum | median | ÷ aiohttp | ÷ aiohttp, events | ÷ httpx2 "
    "| first event, ms | delay, ms | kB / stream |"
)
_FIGURES = ("cpu_us_per_event", "first_event_ms", "delay_ms", "kb_per_stream", "events_per_s")


def main() -> None:
    given = _options()
    names = given.only.split(",")
    pythons = {name: python_of(given.environments, name, PEERS[name][1]) for name in names}
    cores = sorted(os.sched_getaffinity(0))
    counts = [int(count) for count in given.streams.split(",")]
    runs: dict[int, dict[str, list[dict[str, float]]]] = {count: {name: [] for name in names} for count in counts}
    _allow_files(2 * max(counts) + 100)
    quiet = Quiet.begin()
    for run in range(given.runs):
        for count in counts:
            rate = RATES.get(count, 10.0)
            events = max(2, int(rate * given.seconds))
            for name in names:
                with server(events, rate, cores[-1]) as port:
                    runs[count][name].append(_measure(pythons[name], name, port, count, cores[0]))
        print(f"run {run + 1} of {given.runs}", file=sys.stderr, flush=True)
    quiet.finish()
    rows = {str(count): {name: _row(found) for name, found in peers.items()} for count, peers in runs.items()}
    work = {"streams": counts, "seconds": given.seconds, "rates": [RATES.get(count, 10.0) for count in counts]}
    report.publish(given, quiet, {"work": work, "peers": rows}, _table(rows))


@contextlib.contextmanager
def server(events: int, rate: float, core: int) -> Iterator[int]:
    """Run the server on a processor, and yield its port."""
    command = [sys.executable, str(HERE / "server.py"), "--events", str(events), "--rate", str(rate)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _options() -> argparse.Namespace:
    options = report.parser(__doc__, PEERS, runs=5, environments=HERE.parents[1] / ".tox" / "bench-stream-peers")
    options.add_argument("--streams", default="1,100,1000", help="numbers of concurrent streams (default: %(default)s)")
    options.add_argument("--seconds", type=float, default=5.0, help="length of a stream (default: %(default)s)")
    return report.parse(options, PEERS)


def _measure(python: str, name: str, port: int, streams: int, core: int) -> dict[str, float]:
    program, *others = PEERS[name][0].split()
    command = [python, str(HERE / "drivers" / program), str(port), "--streams", str(streams), *others]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(runs: list[dict[str, float]]) -> dict[str, float]:
    medians = {f"{figure}_median": statistics.median(run[figure] for run in runs) for figure in _FIGURES}
    return {"cpu_us_per_event_min": min(run["cpu_us_per_event"] for run in runs), **medians, "runs": len(runs)}


def _table(rows: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    lines = []
    for count, peers in rows.items():
        lines += [
            "",
            f"{count} streams at once",
            "",
            _TITLES,
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, row in peers.items():
            least = row["cpu_us_per_event_min"]
            ratios = [
                f"{least / peers[peer]['cpu_us_per_event_min']:.2f}" if peer in peers else ""
                for peer in ("aiohttp", "aiohttp-events", "httpx2")
            ]
            lines.append(
                f"| {PEERS[name][2]} | {least:.1f} | {row['cpu_us_per_event_median']:.1f} | {' | '.join(ratios)} "
                f"| {row['first_event_ms_median']:.1f} | {row['delay_ms_median']:.2f} "
                f"| {row['kb_per_stream_median']:.1f} |"
            )
    return lines


def _allow_files(count: int) -> None:
    """Raise the limit of open files, which the drivers and the server inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    main()
