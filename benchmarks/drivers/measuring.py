"""Shared parts of the drivers: the request body, the number of calls in flight, and the CPU time of the process."""

from __future__ import annotations

import argparse
import json
import resource
import time

_BODY = b'[{"money_credit": 3000000, "age": 42, "city": "hz"}]'
assert len(_BODY) == 52


def body_of(length: int) -> bytes:
    """Return a request body of `length` bytes, JSON if there are 52 or more."""
    return _BODY[:length] if length <= len(_BODY) else _BODY[:-1] + b" " * (length - len(_BODY)) + b"]"


def options() -> argparse.Namespace:
    """Parse a driver's command line."""
    return parser_of_options().parse_args()


def parser_of_options() -> argparse.ArgumentParser:
    """Make a parser with the options of every driver."""
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint", help="host:port of the control plane")
    parser.add_argument("ports", help="the instances' ports, separated by commas")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--warm-up", type=int, default=2_000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--body-bytes", type=int, default=len(_BODY))
    parser.add_argument("--auth", default="signature", help="the value of ClientConfig.auth, for eas_tw")
    parser.add_argument("--threads", type=int, default=8, help="for a blocking client")
    parser.add_argument("--module", default="eas_prediction", help="for a blocking client")
    return parser


class Account:
    """CPU and wall time from construction to `report`."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = _cpu_s(), time.perf_counter()

    def report(self, calls: int) -> None:
        """Print the measured times of `calls` calls as one line of JSON."""
        wall_s, cpu_s = time.perf_counter() - self._wall_s, _cpu_s() - self._cpu_s
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"calls": calls, "wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak_mb}), flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
