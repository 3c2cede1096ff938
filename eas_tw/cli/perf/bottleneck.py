"""The rules by which the load generator itself is called the bottleneck."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eas_tw.cli.perf.distribution import Distribution

_BUSY = 0.9
"""The share of one core from which on the process has no reserve: it has one thread that works."""
_IDLE = 0.5
"""A process that used less than this share of a core is late because it was not scheduled."""
_LEAST_LAG_S = 0.002
"""Lag below this is that of the operating system's timers, also when the process is idle."""
_SHARE_OF_LATENCY = 0.1
"""The part of the median latency that lag may be."""
_LEAST_DELAY_S = 0.005


def bottleneck(lag: Distribution, cpu_share: float, delays: Distribution | None, answered: Distribution) -> str:
    """Return why the load generator was the bottleneck.

    Args:
        lag: How late timers of the reactor were.
        cpu_share: The share of one core that the process used.
        delays: In an open loop how late calls were sent; `None` if there is another reason for that.
        answered: The latencies of the answered calls.

    Returns:
        A sentence, or an empty text if it was not the bottleneck.
    """
    median_s = answered.percentile(50) or 0.0
    lag_s = lag.percentile(99) or 0.0
    delay_s = (delays.percentile(99) or 0.0) if delays is not None else 0.0
    reasons = []
    if cpu_share >= _BUSY:
        reasons.append(f"it used {cpu_share:.0%} of a core")
    if lag_s >= max(_LEAST_LAG_S, median_s * _SHARE_OF_LATENCY):
        reasons.append(f"its reactor was {lag_s * 1000:.1f} ms late (p99)")
    if delay_s >= max(_LEAST_DELAY_S, median_s * _SHARE_OF_LATENCY):
        reasons.append(f"it sent calls {delay_s * 1000:.1f} ms late (p99)")
    if not reasons:
        return ""
    advice = "reduce the load, or run several processes on other cores"
    if cpu_share < _IDLE:
        advice = f"as it used only {cpu_share:.0%} of a core, other programs keep this machine busy"
    said = f"the load generator was the bottleneck: {', '.join(reasons)}"
    return f"{said}. The latencies have its own delays in them; {advice}"
