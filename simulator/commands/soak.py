"""The `soak` command: run many seeds on several processes, until the first violation or the last seed."""

from __future__ import annotations

import argparse
import json
import sys
from time import monotonic  # noqa: TID251  a progress bar shows real time
from typing import TYPE_CHECKING

from simulator.commands import FAILED, USAGE, say
from simulator.commands.simulate import add_choice

if TYPE_CHECKING:
    from simulator.virtual.soaking import Sum

_BAR = 30
_LINES_APART_S = 10.0
_MAX_JOBS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--seeds", type=_seeds, required=True, metavar="A..B", help="range of seeds, from A to B inclusive"
    )
    parser.add_argument("--jobs", type=_jobs, default=1, help="number of processes (default: %(default)s)")
    parser.add_argument(
        "--with",
        dest="traffic",
        action="append",
        default=[],
        metavar="TRAFFIC",
        help="skip seeds without this traffic: streams, queues, keys, gateway or restarts; may be repeated",
    )
    parser.add_argument("--collect", action="store_true", help="continue after a violation, and list all violations")
    add_choice(parser)
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON at the end")


def run(options: argparse.Namespace) -> int:
    """Run the seeds; return 1 on a violation."""
    from simulator.virtual.plan import PROFILES, TRAFFIC  # noqa: PLC0415
    from simulator.virtual.soaking import soak  # noqa: PLC0415

    if options.profile not in PROFILES:
        return say(f"profile must be one of {', '.join(PROFILES)}, got {options.profile!r}", USAGE)
    for name in options.traffic:
        if name not in TRAFFIC:
            return say(f"--with must be one of {', '.join(TRAFFIC)}, got {name!r}", USAGE)
    progress = Progress(len(options.seeds))
    total = soak(
        options.seeds,
        options.profile,
        options.hours,
        jobs=options.jobs,
        traffic=options.traffic,
        collect=options.collect,
        progress=progress.show,
    )
    progress.end()
    skipped = f" ({total.skipped} skipped)" if total.skipped else ""
    print(
        f"{total.seeds} seeds{skipped}, {total.simulated_s / 3600:.1f} h simulated, {total.calls} calls, "
        f"{total.failed} failed by faults, {total.lost} lost, {sum(total.faults.values())} faults, "
        f"{len(total.violations)} violations"
    )
    if options.json:
        print(json.dumps(total.to_json()))
    return FAILED if total.violations else 0


class Progress:
    """Prints each violation when it is found, and the progress: as a bar on a terminal, otherwise as lines."""

    def __init__(self, seeds: int) -> None:
        self._seeds = seeds
        self._told = 0
        self._began = self._shown_at = monotonic()
        self._live = sys.stderr.isatty()

    def show(self, total: Sum) -> None:
        """Show the progress so far."""
        if len(total.violations) > self._told:
            self.end()
            for found in total.violations[self._told :]:
                print(f"seed {found['seed']}: ({found['checker']}) {found['says']}\n  {found['replay']}", flush=True)
            self._told = len(total.violations)
        now = monotonic()
        if not self._live and now - self._shown_at < _LINES_APART_S:
            return
        self._shown_at = now
        seen = total.seeds + total.skipped
        rate = seen / max(0.001, now - self._began)
        left_s = int((self._seeds - seen) / max(0.001, rate))
        done = _BAR * seen // self._seeds
        skipped = f" ({total.skipped} skipped)" if total.skipped else ""
        line = (
            f"[{'#' * done}{'.' * (_BAR - done)}] {seen}/{self._seeds} seeds{skipped}  {rate:.1f}/s  "
            f"ETA {left_s // 60}:{left_s % 60:02}  {len(total.violations)} violations"
        )
        print(f"\r\x1b[2K{line}" if self._live else line, end="" if self._live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the bar from the terminal."""
        if self._live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _jobs(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) <= _MAX_JOBS:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MAX_JOBS}, got {text!r}")


def _seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    if dots and first.isascii() and first.isdigit() and last.isascii() and last.isdigit() and int(first) <= int(last):
        return range(int(first), int(last) + 1)
    raise argparse.ArgumentTypeError(f"must look like A..B with A ≤ B, such as 1..1000, got {text!r}")
