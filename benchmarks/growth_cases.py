"""The cases of `growth.py`, each with its measurement, client and server, and the targets."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_OURS = str(Path(__file__).parents[1])
_MIB = 1 << 20
HELD = 10_000
"""The number of calls that are in flight at the same time in the group `held`."""

CLIENTS: dict[str, tuple[str, list[str] | None]] = {
    # name: (driver and its options, packages its environment needs or None for this environment)
    "eas_tw": ("growing.py", None),
    'eas_tw, auth="token"': ("growing.py --auth token", None),
    # Otherwise the number of connections would follow the other load of the machine.
    "eas_tw, few connections": ("growing.py --connections 16", None),
    "aiohttp + uvloop": ("aiohttp_uvloop.py", ["aiohttp", "uvloop"]),
    "two bare sockets": ("sockets.py", None),
    "eas_tw, open loop": ("open_loop_ours.py", None),
    # The environments of these two drivers need this package for the schedule and the histograms.
    "aiohttp + uvloop, open loop": (
        "open_loop_peers.py --client aiohttp",
        ["-e", f"{_OURS}[cli]", "aiohttp", "uvloop"],
    ),
    "httpx2 + uvloop, open loop": ("open_loop_peers.py --client httpx2", ["-e", f"{_OURS}[cli,httpx2]", "uvloop"]),
}


class Case(NamedTuple):
    """One measurement.

    Attributes:
        what: The measurement of `drivers/growing.py`; `calls` for other drivers.
        client: One of `CLIENTS`.
        server: `nginx`; `streams` for the server of the stream benchmarks, whose response does not end for minutes;
            `bodies` for a server that reads a whole request before it answers.
        instances: The number of ports of nginx, or of rows in the list of the other servers.
        response_bytes: The length of a response's body.
        calls: The number of calls; for `discovery`, the number of clients.
        in_flight: The number of concurrent calls.
        body_bytes: The length of a request's body.
        processes: The number of drivers that run at the same time.
        rates_of: The case of the group `latency` whose saturation determines the rates of this open loop; empty for the
            saturation of this client.
    """

    what: str = "calls"
    client: str = "eas_tw"
    server: str = "nginx"
    instances: int = 3
    response_bytes: int = 16
    calls: int = 20_000
    in_flight: int = 32
    body_bytes: int = 52
    processes: int = 1
    rates_of: str = ""

    def scaled(self, share: float) -> Case:
        """Return the case with a share of its work, for a trial."""
        return self._replace(
            calls=max(2, round(self.calls * share)),
            in_flight=max(1, round(self.in_flight * share)) if self.what == "held" else self.in_flight,
            instances=max(1, round(self.instances * share)) if self.server == "streams" else self.instances,
        )


def _bodies(size: int, text: str, in_flight: tuple[int, ...] = (1,)) -> dict[str, Case]:
    """Return the cases of a body size: each client with each number of calls in flight."""
    calls = max(32, min(10_000, (256 << 20) // (size + 10_000)))  # about one second of work
    clients = ("two bare sockets", 'eas_tw, auth="token"', "eas_tw", "aiohttp + uvloop")
    return {
        f"{text}, {count} in flight, {client}": Case(
            client=client, server="bodies", calls=calls, in_flight=count, body_bytes=size, response_bytes=size
        )
        for count in in_flight
        for client in clients
    }


def _open(client: str, rates_of: str = "") -> Case:
    return Case(client=f"{client}, open loop", in_flight=64, rates_of=rates_of)


GROUPS: dict[str, dict[str, Case]] = {
    "instances": {f"{count} instances": Case(instances=count) for count in (3, 100, 1000)},
    "in-flight": {f"{count} in flight": Case(in_flight=count) for count in (1, 32, 256, 1000)},
    "bodies": {
        **_bodies(52, "52 B"),
        **_bodies(3 << 10, "3 KiB"),
        **_bodies(600 << 10, "600 KiB", (1, 8)),
        **_bodies(8 * _MIB, "8 MiB", (1, 8)),
    },
    "held": {f"{HELD} in flight": Case("held", server="streams", instances=1, in_flight=HELD)},
    "list": {"10,000 instances": Case("list", server="streams", instances=10_000)},
    "response": {"one response of 64 MiB": Case(calls=4, in_flight=1, response_bytes=64 * _MIB)},
    "latency": {
        "eas_tw": _open("eas_tw"),
        "aiohttp + uvloop": _open("aiohttp + uvloop"),
        "httpx2 + uvloop": _open("httpx2 + uvloop"),
        "eas_tw at the rates of aiohttp": _open("eas_tw", "aiohttp + uvloop"),
        "eas_tw at the rates of httpx2": _open("eas_tw", "httpx2 + uvloop"),
    },
    "processes": {f"{count} processes": Case(calls=40_000, processes=count) for count in (1, 2)},
    "discovery": {"1,000 clients": Case("discovery", server="streams", instances=100, calls=1000)},
    "hour": {"2,000 calls per second": Case("hour", client="eas_tw, few connections", calls=7_200_000)},
}
LONG = frozenset({"hour"})
"""Groups that are measured only if `--only` names them."""


class Target(NamedTuple):
    """A bound on a figure, or on its ratio to the same figure of another case.

    Attributes:
        case: The group and the case.
        figure: The name of the figure.
        bound: The bound.
        base: The case whose figure is the divisor of the ratio; empty for no ratio.
        is_least: Whether the bound is a minimum; otherwise it is a maximum.
    """

    case: str
    figure: str
    bound: float
    base: str = ""
    is_least: bool = False


TARGETS = [
    Target("instances: 1000 instances", "cpu_us_per_call", 1.1, "instances: 3 instances"),
    *(
        Target(
            f'bodies: 8 MiB, {count} in flight, eas_tw, auth="token"',
            "mb_per_s",
            0.6,
            f"bodies: 8 MiB, {count} in flight, two bare sockets",
            is_least=True,
        )
        for count in (1, 8)
    ),
    Target(f"held: {HELD} in flight", "kib_per_call", 24),
    Target(f"held: {HELD} in flight", "lag_ms", 50),
    Target("list: 10,000 instances", "lag_ms", 50),
    Target("response: one response of 64 MiB", "lag_ms", 50),
    Target("hour: 2,000 calls per second", "rss_kib_growth", 1024),
    # One leaked object per call would be 3.6 million.
    Target("hour: 2,000 calls per second", "objects_growth", 2_000),
    Target("hour: 2,000 calls per second", "files_growth", 32),
    Target("hour: 2,000 calls per second", "timers_growth", 8),
]


def judged(rows: dict[str, dict[str, float]]) -> list[dict[str, object]]:
    """Return each target whose cases were measured, with its value."""
    found = []
    for target in TARGETS:
        if target.case in rows and (not target.base or target.base in rows):
            value = rows[target.case][target.figure]
            if target.base:
                value /= rows[target.base][target.figure]
            is_met = value >= target.bound if target.is_least else value <= target.bound
            found.append({**target._asdict(), "value": value, "is_met": is_met})
    return found
