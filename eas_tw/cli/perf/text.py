"""The results of a run as readable text and as CSV; both are made from the JSON document."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from eas_tw.cli.perf.figures import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMES = ("mean_ms", *(f"p{share:g}_ms" for share in PERCENTILES), "max_ms")
_COUNTS = ("answered", "failed", "unsent", "retries", "hedges", "elapsed_s", "calls_per_s")
_COLUMNS = ("load", *_COUNTS, "error_share", *_TIMES, "first_byte_p50_ms", "first_byte_p99_ms", "tokens_per_s")


def load_name(step: dict[str, Any]) -> str:
    """Return the load of a step, such as `8 in flight` or `500 calls/s`."""
    rate = step["load"]["rate_per_s"]
    return f"{step['load']['in_flight']} in flight" if rate is None else f"{rate:g} calls/s"


def pretty(result: dict[str, Any]) -> str:
    """Return the results as text."""
    steps = result["steps"]
    parts = []
    for step in steps:
        heading = [f"--- {load_name(step)}"] if len(steps) > 1 else []
        parts.append("\n".join([*heading, *_step(step)]))
    if len(steps) > 1:
        parts.append("\n".join(_sweep(steps)))
    return "\n\n".join(parts)


def as_csv(result: dict[str, Any]) -> str:
    """Return the results as CSV, with a row for each step."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for step in result["steps"]:
        stream = step.get("stream", {})
        first = stream.get("first_byte", {})
        row = {
            **step,
            "load": load_name(step),
            "failed": sum(step["failed"].values()),
            "first_byte_p50_ms": first.get("p50_ms"),
            "first_byte_p99_ms": first.get("p99_ms"),
            "tokens_per_s": stream.get("tokens_per_s"),
        }
        writer.writerow("" if row.get(name) is None else row[name] for name in _COLUMNS)
    return file.getvalue()


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return rows as aligned lines: the first column to the left, the other columns to the right."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *rest in cells:
        aligned = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append("  ".join(aligned).rstrip())
    return lines


def _step(step: dict[str, Any]) -> list[str]:
    shown = {name: step[name] for name in _COUNTS if name != "unsent" or step["unsent"]}
    shown["failed"] = ", ".join(f"{name} {count}" for name, count in step["failed"].items()) or 0
    width = max(map(len, shown))
    lines = [f"{name:{width}}  {value}" for name, value in shown.items()]
    lines += _latencies(step)
    if step["errors"]:
        lines += ["", *table([("error", "calls", "share"), *map(_error, step["errors"])])]
        lines += [f"  {row['error']}: {row['example']}" for row in step["errors"]]
    if step["instances"]:
        names = ("instance", "share", "p50 ms", "p99 ms", "errors", "retries", "hedges", "ejections")
        lines += ["", *table([names, *map(_instance, step["instances"])])]
    return lines + [line for warning in step["warnings"] for line in ("", f"Note: {warning}.")]


def _latencies(step: dict[str, Any]) -> list[str]:
    kinds = {"answered": step, "failed": step["failed_latency"]}
    if "stream" in step:
        kinds |= {"first byte": step["stream"]["first_byte"], "between events": step["stream"]["between_events"]}
    rows = [[kind, *(f"{times[name]:.3f}" for name in _TIMES)] for kind, times in kinds.items() if "p50_ms" in times]
    lines = ["", *table([["ms", *(name.removesuffix("_ms") for name in _TIMES)], *rows])] if rows else []
    if "stream" in step:
        stream = step["stream"]
        lines.append(f"events/s  {stream['events_per_s']}")
        if stream["tokens"]:
            lines.append(f"tokens/s  {stream['tokens_per_s']}")
    return lines


def _error(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["error"], row["count"], f"{row['share']:.2%}"


def _instance(row: dict[str, Any]) -> tuple[Any, ...]:
    times = (f"{row[name]:.3f}" if row[name] is not None else "-" for name in ("p50_ms", "p99_ms"))
    counts = (row[name] for name in ("errors", "retries", "hedges", "ejections"))
    return row["instance"], f"{row['share']:.1%}", *times, *counts


def _sweep(steps: Sequence[dict[str, Any]]) -> list[str]:
    rows: list[Sequence[Any]] = [("load", "calls/s", "errors", "p50 ms", "p99 ms", "max ms")]
    for step in steps:
        times = (step.get(name, "-") for name in ("p50_ms", "p99_ms", "max_ms"))
        rows.append((load_name(step), step["calls_per_s"], f"{step['error_share']:.2%}", *times))
    return table(rows)
