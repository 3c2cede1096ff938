"""Compare the CPU cost of tensors in eas_tw, the official SDK, plain protobuf and a memory copy, and print a table.

The runs are interleaved. Each figure is the least CPU time of all runs, because other load can only increase it.
`--json` prints the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from environments import machine, python_of

PEERS = {
    # name: packages that its environment needs; `None` means the environment that runs this program
    "ours": None,
    "plain": None,
    "official": ["eas-prediction==0.36", "protobuf==3.20.3", "numpy"],
    "memcpy": None,
}
DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="runs of each program, interleaved (default: %(default)s)")
    parser.add_argument("--sizes", default="784,150528", help="numbers of elements (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--environments", type=Path, default=HERE.parents[1] / ".tox" / "bench-tensors")
    given = parser.parse_args()
    best: dict[str, dict[str, float]] = {name: {} for name in PEERS}
    for run in range(given.runs):
        for name, needs in PEERS.items():
            for case, seconds in _measure(python_of(given.environments, name, needs), name, given.sizes).items():
                best[name][case] = min(seconds, best[name].get(case, seconds))
        print(f"run {run + 1} of {given.runs}", file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps({"machine": machine(), "protobuf": version("protobuf"), "seconds": best}))
        return
    print(f"{machine()}, protobuf {version('protobuf')}, numpy {version('numpy')}")
    for size in given.sizes.split(","):
        print("\n".join(_table(best, size)))


def _measure(python: str, name: str, sizes: str) -> dict[str, float]:
    command = [python, str(HERE / f"{name}.py"), "--sizes", sizes, "--repeats", "3"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _table(best: dict[str, dict[str, float]], size: str) -> list[str]:
    lines = ["", f"{int(size):,} elements, µs", ""]
    lines.append("| | ours | memcpy | plain protobuf | official SDK | ÷ memcpy | official ÷ ours |")
    lines.append("|---|---|---|---|---|---|---|")
    for what in ("array write", "array read", "list write", "list read"):
        for dtype in DTYPES:
            case = f"{dtype} {size} {what}"
            ours, copied = best["ours"][case], best["memcpy"].get(case)
            official = best["official"].get(case)
            cells = [ours, copied, best["plain"][case], official]
            figures = " | ".join("–" if cell is None else f"{cell * 1e6:,.1f}" for cell in cells)
            ratios = (
                "–" if copied is None else f"{ours / copied:.1f}",
                "–" if official is None else f"{official / ours:,.0f}",
            )
            lines.append(f"| {dtype} {what} | {figures} | {' | '.join(ratios)} |")
    return lines


if __name__ == "__main__":
    main()
