"""The command `eas-tw perf compare`, which compares two results of `eas-tw perf --output json`."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError
from eas_tw.cli.files import read
from eas_tw.cli.perf.limits import PerfFailed
from eas_tw.cli.perf.plan import not_negative

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from eas_tw.cli.perf.comparison import Row

DESCRIPTION = (
    "Compare two results of `eas-tw perf --output json`, percentile by percentile. The exit code is 1 if the second is "
    "worse. A percentile is slower or faster if the 95% confidence intervals do not overlap and the change is larger "
    "than the tolerance; calls without an answer count as the slowest."
)
_FORMAT = "eas-tw perf 1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add = parser.add_argument
    add("before", type=Path, metavar="A.json", help="the first result")
    add("after", type=Path, metavar="B.json", help="the second result, which is compared with the first")
    add(
        "--tolerance",
        default="5",
        metavar="PERCENT",
        help="changes of a percentile up to this are ignored (default: %(default)s)",
    )
    add("--output", choices=("pretty", "json"), default="pretty")


def run(options: argparse.Namespace) -> None:
    """Print the comparison.

    Raises:
        PerfFailed: The second result is worse.
        ConfigError: A file is not a result, or hdrhistogram is not installed.
        OSError: A file cannot be read.
    """
    from eas_tw.cli.perf.comparison import compare, differences_in_settings  # noqa: PLC0415  needs hdrhistogram

    tolerance = not_negative("--tolerance", options.tolerance.removesuffix("%")) / 100
    before, after = _read(options.before), _read(options.after)
    rows = compare(before, after, tolerance)
    notes = differences_in_settings(before, after)
    if options.output == "json":
        print(json.dumps({"rows": [_as_json(row) for row in rows], "notes": notes}, ensure_ascii=False))
    else:
        print("\n".join([*_lines(rows), *(f"Note: {note}." for note in notes)]))
    worse = [row for row in rows if row.is_worse]
    if worse:
        raise PerfFailed(f"{options.after} is worse: {', '.join(_named(row) for row in worse)}")


def _read(file: Path) -> dict[str, Any]:
    try:
        result = json.loads(read(file).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not JSON: {error}") from None
    if not isinstance(result, dict) or result.get("format") != _FORMAT:
        raise ConfigError(f"{file} is no result of `eas-tw perf --output json` of this version ({_FORMAT})")
    return result


def _lines(rows: Sequence[Row]) -> list[str]:
    from eas_tw.cli.perf.text import table  # noqa: PLC0415

    has_steps = len({row.load for row in rows}) > 1
    cells = [[*((row.load,) if has_steps else ()), row.name, *_values(row), row.conclusion] for row in rows]
    return table([[*(("load",) if has_steps else ()), "", "A", "B", "change", ""], *cells])


def _values(row: Row) -> tuple[str, str, str]:
    show = _share if row.name == "errors" else _milliseconds
    change = row.change
    return show(row.before), show(row.after), "" if change is None else f"{change:+.1%}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _milliseconds(value: float | None) -> str:
    if value == inf:
        return "no answer"
    return "-" if value is None else f"{value * 1000:.3f} ms"


def _named(row: Row) -> str:
    before, after, change = _values(row)
    return f"{row.name} at {row.load} from {before} to {after}{f' ({change})' if change else ''}"


def _as_json(row: Row) -> dict[str, Any]:
    unit, factor = ("share", 1) if row.name == "errors" else ("ms", 1000)
    # JSON has no infinity.
    values = (None if value in (None, inf) else value for value in (row.before, row.after))
    before, after = (None if value is None else round(value * factor, 6) for value in values)
    return {
        "load": row.load,
        "figure": row.name,
        "unit": unit,
        "before": before,
        "after": after,
        "change": row.change,
        "conclusion": row.conclusion,
    }
