"""Compare two files that `run.py --output` or `growth.py --output` has written, figure by figure, with the ratios."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    given = parser.parse_args()
    before, after = (_read(parser, file) for file in (given.before, given.after))
    for name, found in (("before", before), ("after", after)):
        complaint = found["quiet"]["complaint"]
        print(f"{name}: {found['machine']}{f'; BUSY: {complaint}' if complaint else ''}")
    if before["work"] != after["work"]:
        print(f"the work differs: {before['work']} and {after['work']}")
    speed = after["quiet"]["loop_before_s"] / before["quiet"]["loop_before_s"]
    print(f"the same fixed loop took {speed:.2f} of the time before; the ratios below are corrected for it\n")
    if "cases" in before and "cases" in after:
        _print_cases(before["cases"], after["cases"], speed)
    elif "peers" in before and "peers" in after:
        _print_peers(before["peers"], after["peers"], speed)
    else:
        parser.error("one file is of run.py, the other of growth.py")


def _print_peers(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]], speed: float) -> None:
    print("| client | before, µs | after, µs | ratio |")
    print("|---|---|---|---|")
    for name in before:
        if name in after:
            old, new = (found[name]["cpu_us_min"] for found in (before, after))
            print(f"| {name} | {old:.1f} | {new:.1f} | {new / old / speed:.2f} |")


def _print_cases(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]], speed: float) -> None:
    print("| case | figure | before | after | ratio |")
    print("|---|---|---|---|---|")
    for name, row in before.items():
        for figure, old in row.items():
            new = after.get(name, {}).get(figure)
            if new is not None:
                ratio = f"{new / old / _slowdown(figure, speed):.2f}" if old else ""
                print(f"| {name} | {figure} | {old:,.2f} | {new:,.2f} | {ratio} |")


def _slowdown(figure: str, speed: float) -> float:
    """Return the ratio of the second value of a figure to the first if only the machine's speed has changed.

    Args:
        figure: The name of the figure. It shows whether the figure is a rate, a time, or independent of the speed.
        speed: The time of the fixed loop in the second file, divided by its time in the first file.
    """
    if figure.endswith("_per_s"):
        return 1 / speed
    is_time = "_us" in figure or "_ms" in figure or figure.endswith("_s")
    return speed if is_time else 1.0


def _read(parser: argparse.ArgumentParser, file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        parser.error(f"{file}: {error}")
    if (
        not isinstance(found, dict)
        or not {"machine", "quiet", "work"} <= set(found)
        or not {"peers", "cases"} & set(found)
    ):
        parser.error(f"{file}: it is no file of run.py --output or growth.py --output")
    return found


if __name__ == "__main__":
    main()
