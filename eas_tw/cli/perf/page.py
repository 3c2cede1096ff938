"""The results of a run as a single HTML file, without scripts or other files, which can be attached to a ticket."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from math import log10
from typing import Any

from eas_tw.cli.perf.charts import Line, bar, line_chart, milliseconds, round_values
from eas_tw.cli.perf.histogram import decoded
from eas_tw.cli.perf.page_style import STYLE
from eas_tw.cli.perf.text import load_name

_CURVE = (0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.99, 99.995, 99.999)
_CURVE_LABELS = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_LATENCIES = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")


def page(result: dict[str, Any]) -> str:
    """Return the page for the JSON document of a run."""
    steps = result["steps"]
    title = f"{result['service']}: {', '.join(map(load_name, steps))}"
    body = [f"<h1>{escape(result['service'])}</h1>", f'<p class="quiet">{escape(_about(result))}</p>']
    if len(steps) > 1:
        body.append(_sweep(steps))
    for step in steps:
        heading = f"<h2>{escape(load_name(step))}</h2>" if len(steps) > 1 else ""
        body.append(f"<section>{heading}{_step(step)}</section>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(body)}</main></body></html>"
    )


def _about(result: dict[str, Any]) -> str:
    settings = result["settings"]
    loop = "open loop" if result["steps"][0]["load"]["rate_per_s"] is not None else "closed loop"
    parts = [result["started"], loop, ", ".join(map(load_name, result["steps"]))]
    for name, text in (("requests", "{} calls"), ("duration_s", "{:g} s"), ("warm_up_s", "warm-up {:g} s")):
        if settings.get(name):
            parts.append(text.format(settings[name]))
    if result["is_interrupted"]:
        parts.append("interrupted")
    return " · ".join([*parts, f"eas-tw {result['version']}"])


def _step(step: dict[str, Any]) -> str:
    notes = "".join(f'<p class="note">{escape(text[0].upper() + text[1:])}.</p>' for text in step["warnings"])
    return (
        f"{_tiles(step)}{notes}{_latencies(step)}{_over_time(step)}{_percentile_curve(step)}{_instances(step)}"
        f"{_errors(step)}"
    )


def _tiles(step: dict[str, Any]) -> str:
    tiles = [
        ("answered calls per second", f"{step['calls_per_s']:g}", ""),
        ("median of the answered calls", _time(step.get("p50_ms")), ""),
        ("99th percentile of the answered calls", _time(step.get("p99_ms")), ""),
        ("not answered", f"{step['error_share']:.2%}", "bad" if step["error_share"] else ""),
    ]
    if "stream" in step:
        tiles.insert(3, ("median time to the first byte", _time(step["stream"]["first_byte"].get("p50_ms")), ""))
        if step["stream"]["tokens"]:
            tiles.insert(4, ("tokens per second", f"{step['stream']['tokens_per_s']:g}", ""))
    cells = "".join(f'<div class="tile {style}"><b>{text}</b><span>{name}</span></div>' for name, text, style in tiles)
    return f'<div class="tiles">{cells}</div>'


def _latencies(step: dict[str, Any]) -> str:
    kinds = {"answered": step, "failed": step["failed_latency"]}
    if "stream" in step:
        kinds |= {"first byte": step["stream"]["first_byte"], "between events": step["stream"]["between_events"]}
    rows = [
        [kind, *(f"{times[f'{name}_ms']:.3f}" for name in _LATENCIES)]
        for kind, times in kinds.items()
        if "p50_ms" in times
    ]
    return _table("Latencies in milliseconds", ("", *_LATENCIES), rows)


def _over_time(step: dict[str, Any]) -> str:
    rows, interval_s = step["over_time"]["rows"], step["over_time"]["interval_s"]
    if not rows:
        return ""
    whole_s = len(rows) * interval_s
    styles = (("median", "p50", 3), ("99th percentile", "p99", 4), ("maximum", "max", 5))
    lines = [
        Line(name, style, [((row[0] + interval_s / 2) / whole_s, row[column]) for row in rows])
        for name, style, column in styles
    ]
    hovers, marks = [], []
    for begin_s, answered, failed, *times in rows:
        ends = begin_s / whole_s, (begin_s + interval_s) / whole_s
        shown = ", ".join(f"{style} {_time(time)}" for (_, style, _), time in zip(styles, times, strict=True))
        hovers.append((*ends, f"{begin_s:g} s: {answered} answered, {failed} failed; {shown}"))
        if failed:
            marks.append(ends)
    labels = [(second / whole_s, f"{second:g} s") for second in round_values(whole_s) if second <= whole_s]
    return line_chart("Latency by the time at which the calls were due", lines, labels, hovers, marks)


def _percentile_curve(step: dict[str, Any]) -> str:
    found = decoded(step["histograms"]["answered"])
    if not found.count:
        return ""
    # Percentiles for which there are too few calls are left out: the 99.9th percentile of 100 calls is their maximum.
    shares = [share for share in _CURVE if share == 0.0 or found.count * (100 - share) >= 100]  # noqa: PLR2004  percent
    end = _nines(shares[-1]) or 1.0
    values = [(share, (found.percentile(share) if share else found.at_rank(1)) or 0.0) for share in shares]
    line = Line("answered calls", "p99", [(_nines(share) / end, value * 1000) for share, value in values])
    labels = [(_nines(share) / end, f"{share:g} %") for share in _CURVE_LABELS if share in shares]
    between = [
        (
            (_nines(low) / end),
            (_nines(high) / end),
            f"{high:g} % of the answered calls took at most {value * 1000:.3f} ms",
        )
        for (low, _), (high, value) in pairwise(values)
    ]
    return line_chart("Latency by percentile", [line], labels, between)


def _nines(share: float) -> float:
    """Return the position of a percentile on the logarithmic x axis: 90 is at 1, 99 at 2, 99.9 at 3."""
    return -log10(1 - share / 100)


def _instances(step: dict[str, Any]) -> str:
    rows = step["instances"]
    most = max((row["p99_ms"] or 0.0 for row in rows), default=0.0)
    cells = [
        [
            row["instance"],
            f"{row['share']:.1%}",
            _time(row["p50_ms"]),
            _time(row["p99_ms"]),
            bar(row["p99_ms"] or 0.0, row["p50_ms"] or 0.0, most),
            *(row[name] for name in ("errors", "retries", "hedges", "ejections")),
        ]
        for row in rows
    ]
    names = ("instance", "share", "p50", "p99", "p50 and p99", "errors", "retries", "hedges", "ejections")
    return _table("Attempts by instance", names, cells)


def _errors(step: dict[str, Any]) -> str:
    rows = [[row["error"], row["count"], f"{row['share']:.2%}", row["example"]] for row in step["errors"]]
    return _table("Errors", ("error", "calls", "share", "last message"), rows)


def _sweep(steps: list[dict[str, Any]]) -> str:
    last = max(1, len(steps) - 1)
    places = [number / last for number in range(len(steps))]
    lines = [
        Line(name, style, [(x, step.get(f"{style}_ms")) for x, step in zip(places, steps, strict=True)])
        for name, style in (("median", "p50"), ("99th percentile", "p99"), ("maximum", "max"))
    ]
    labels = [(x, load_name(step).removesuffix(" in flight")) for x, step in zip(places, steps, strict=True)]
    rows = [
        [
            load_name(step),
            step["calls_per_s"],
            f"{step['error_share']:.2%}",
            _time(step.get("p50_ms")),
            _time(step.get("p99_ms")),
        ]
        for step in steps
    ]
    names = ("load", "calls/s", "not answered", "p50", "p99")
    return line_chart("Latency by load", lines, labels) + _table("Steps", names, rows)


def _table(title: str, names: tuple[str, ...], rows: list[list[Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></figure>"
    )


def _cell(value: Any) -> str:
    text = str(value)
    return f"<td>{text if text.startswith('<svg') else escape(text)}</td>"


def _time(value: float | None) -> str:
    return "–" if value is None else milliseconds(float(f"{value:.3g}"))
