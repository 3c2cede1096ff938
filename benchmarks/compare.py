"""Compare two files that `run.py --output` has written: the CPU time per request of each client, and the ratio."""

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
    print("| client | before, µs | after, µs | ratio |")
    print("|---|---|---|---|")
    for name in before["peers"]:
        if name in after["peers"]:
            old, new = (found["peers"][name]["cpu_us_min"] for found in (before, after))
            print(f"| {name} | {old:.1f} | {new:.1f} | {new / old / speed:.2f} |")


def _read(parser: argparse.ArgumentParser, file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        parser.error(f"{file}: {error}")
    if not isinstance(found, dict) or not {"machine", "quiet", "work", "peers"} <= set(found):
        parser.error(f"{file}: it is no file of run.py --output")
    return found


if __name__ == "__main__":
    main()
