"""Shared parts of the drivers with an open loop: the load, and the figures of its latencies.

The calls are due at the times of `eas-tw perf`'s schedule, which does not depend on the client. A latency is measured
from the time at which the call was due, so it includes the lateness of the client. Calls may be sent up to 1 ms early,
as in `eas-tw perf`, because the timers of an event loop count in milliseconds.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from measuring import parser_of_options

from eas_tw.cli.perf.loops import EARLY_S
from eas_tw.cli.perf.schedule import Schedule

if TYPE_CHECKING:
    from eas_tw.cli.perf.histogram import Histogram

__all__ = ["EARLY_S", "MOST_CONNECTIONS", "SHARES", "Schedule", "figures", "number_of", "options"]

SHARES = (25, 50, 75)
"""The loads, in percent of the saturation."""
MOST_CONNECTIONS = 384
"""The maximum number of connections of each client: 128 for each of three instances."""
_PERCENTILES = {50: "p50", 99: "p99", 99.9: "p999"}


def options() -> argparse.Namespace:
    """Parse a driver's command line."""
    parser = parser_of_options()
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load")
    parser.add_argument("--saturation", type=float, help="calls per second; not given: those of a closed loop")
    parser.add_argument("--client", choices=("aiohttp", "httpx2"), default="aiohttp", help="of open_loop_peers.py")
    return parser.parse_args()


def number_of(rate: float, seconds: float) -> int:
    """Return the number of calls of a load, at least 2."""
    return max(2, int(rate * seconds))


def figures(share: int, latencies: Histogram) -> dict[str, float]:
    """Return the percentiles of a load in milliseconds."""
    found = latencies.distribution()
    return {f"{name}_ms_at_{share}": (found.percentile(at) or 0.0) * 1000 for at, name in _PERCENTILES.items()}
