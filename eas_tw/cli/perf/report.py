"""The results of a run as a JSON document, which `perf compare` and the HTML page read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.cli.perf.figures import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eas_tw.cli.perf.distribution import Distribution
    from eas_tw.cli.perf.figures import Figures
    from eas_tw.cli.perf.histogram import CompactHistogram, Histogram

FORMAT = "eas-tw perf 1"
_SUMS = ("answered", "failed", "unsent", "retries", "hedges")


def document(steps: Sequence[Figures], about: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a run.

    Args:
        steps: The results of each step, at least one.
        about: Further entries for the top level: version, service, endpoint, start, settings, interrupt.

    Returns:
        A JSON object. `steps` has the results of each step. The top level also has the figures of the step if there is
        only one, and otherwise the sums of the steps' counts.
    """
    results = [_step(step) for step in steps]
    top = dict(results[0]) if len(results) == 1 else _sums(results)
    for name in ("over_time", "histograms", "load"):
        top.pop(name, None)
    return {**top, "format": FORMAT, **about, "steps": results}


def _sums(results: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {name: sum(result[name] for result in results) for name in _SUMS if name != "failed"}
    failed: dict[str, int] = {}
    for result in results:
        for name, count in result["failed"].items():
            failed[name] = failed.get(name, 0) + count
    elapsed_s = round(sum(result["elapsed_s"] for result in results), 3)
    return {**total, "failed": failed, "elapsed_s": elapsed_s}


def _step(step: Figures) -> dict[str, Any]:
    recorder = step.recorder
    failed: dict[str, int] = {}
    for row in recorder.errors.values():
        failed[row.kind] = failed.get(row.kind, 0) + row.count
    figures: dict[str, Any] = {
        "load": {"in_flight": step.load.in_flight, "rate_per_s": step.load.rate_per_s},
        "answered": step.answered.count,
        "failed": failed,
        "unsent": step.unsent,
        "unfinished": step.unfinished,
        "error_share": round(step.error_share, 6),
        "retries": step.instances.retries,
        "hedges": step.instances.hedges,
        "elapsed_s": round(step.elapsed_s, 3),
        "calls_per_s": round(step.calls_per_s, 1),
        **_times(step.answered, recorder.answered),
        "failed_latency": _times(step.failed, recorder.failed),
        "errors": [
            {"error": row.name, "count": row.count, "share": round(row.count / step.calls, 6), "example": row.example}
            for row in sorted(recorder.errors.values(), key=lambda row: -row.count)
        ],
        "instances": _instances(step),
        "generator": {
            "cpu_share": round(step.cpu_share, 3),
            "lag_p99_ms": _ms(step.lag.percentile(99)),
            "send_delay_p99_ms": _ms(step.delays.percentile(99)),
            "is_bottleneck": bool(step.bottleneck),
        },
        "warnings": step.warnings,
        "over_time": _over_time(step),
        "histograms": {"answered": recorder.answered.encoded(), "failed": recorder.failed.encoded()},
    }
    if recorder.events:
        figures["stream"] = {
            "first_byte": _times(step.first_bytes, recorder.first_bytes),
            "between_events": _times(step.gaps, recorder.gaps),
            "events": recorder.events,
            "events_per_s": round(step.events_per_s, 1),
            "tokens": recorder.tokens,
            "tokens_per_s": round(step.tokens_per_s, 1),
        }
        figures["histograms"]["first_byte"] = recorder.first_bytes.encoded()
    return figures


def _times(found: Distribution, histogram: Histogram) -> dict[str, float]:
    """Return mean, percentiles and maximum in milliseconds; empty if nothing was recorded."""
    if not found.count:
        return {}
    times = {"mean_ms": round(histogram.mean_s * 1000, 3)}
    for share in PERCENTILES:
        times[f"p{share:g}_ms"] = round((found.percentile(share) or 0.0) * 1000, 3)
    times["max_ms"] = round(histogram.max_s * 1000, 3)
    return times


def _instances(step: Figures) -> list[dict[str, Any]]:
    rows = sorted(step.instances.rows.items())
    total = sum(row.attempts for _, row in rows)
    return [
        {
            "instance": address,
            "attempts": row.attempts,
            "share": round(row.attempts / total, 6) if total else 0.0,
            **_percentiles(row.latencies, (50, 99)),
            "errors": row.errors,
            "retries": row.retries,
            "hedges": row.hedges,
            "ejections": row.ejections,
        }
        for address, row in rows
    ]


def _over_time(step: Figures) -> dict[str, Any]:
    over_time = step.recorder.over_time
    rows = []
    for begin_s, interval in over_time.rows():
        found = interval.answered.distribution()
        times = [_ms(found.percentile(share)) for share in (50, 99)]
        maximum = _ms(interval.answered.max_s) if found.count else None
        rows.append([begin_s, found.count, interval.failed, *times, maximum])
    return {
        "interval_s": over_time.interval_s,
        "columns": ["begin_s", "answered", "failed", "p50_ms", "p99_ms", "max_ms"],
        "rows": rows,
    }


def _percentiles(histogram: CompactHistogram, shares: tuple[float, ...]) -> dict[str, float | None]:
    found = histogram.distribution()
    return {f"p{share:g}_ms": _ms(found.percentile(share)) for share in shares}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
