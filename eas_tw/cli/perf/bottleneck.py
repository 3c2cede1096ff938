"""The rules that decide whether the load generator itself was the bottleneck."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eas_tw.cli.perf.distribution import Distribution

_BUSY = 0.9
"""From this share of one core on, the process has no reserve, because all its work is done in one thread."""
_IDLE = 0.5
"""If the process used less than this share of a core and was late, the operating system did not schedule it in time."""
_LEAST_LAG_S = 0.002
"""Minimum lag in seconds that counts; the operating system's timers cause smaller lag even in an idle process."""
_SHARE_OF_LATENCY = 0.1
"""The share of the median latency that a lag or delay must reach to count."""
_LEAST_DELAY_S = 0.005
"""Minimum delay of calls in seconds that counts."""


def bottleneck(lag: Distribution, cpu_share: float, delays: Distribution | None, answered: Distribution) -> str:
    """Return the reasons why the load generator was the bottleneck.

    Args:
        lag: The lateness of the reactor's timers, in seconds.
        cpu_share: The share of one core that the process used, from 0 to 1 or more.
        delays: In an open loop, the lateness of calls in seconds; `None` in a closed loop, or if calls were late for
            another reason.
        answered: The latencies of the answered calls, in seconds.

    Returns:
        1. A text of two sentences for the user.
        2. An empty text, if the load generator was not the bottleneck.
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
    return f"{said}. The latencies include its own delays; {advice}"
