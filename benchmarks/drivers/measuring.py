"""Shared parts of the drivers: the request body, the number of calls in flight, and the CPU time of the process."""

from __future__ import annotations

import argparse
import json
import resource
import time

BODY = b'[{"money_credit": 3000000, "age": 42, "city": "hz"}]'
assert len(BODY) == 52


def options() -> argparse.Namespace:
    """Parse a driver's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint", help="host:port of the control plane")
    parser.add_argument("ports", help="the instances' ports, with commas")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--warm-up", type=int, default=2_000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--threads", type=int, default=8, help="of a blocking client")
    parser.add_argument("--module", default="eas_prediction", help="of a blocking client")
    return parser.parse_args()


class Account:
    """CPU and wall time from construction to `report`."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = _cpu_s(), time.perf_counter()

    def report(self, calls: int) -> None:
        """Print the measured times of `calls` calls as one line of JSON."""
        wall_s, cpu_s = time.perf_counter() - self._wall_s, _cpu_s() - self._cpu_s
        print(json.dumps({"calls": calls, "wall_s": wall_s, "cpu_s": cpu_s}), flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
