"""The plan of a run: everything that the nemesis has drawn, as a value, and as a TOML file.

A run is a function of its plan alone. The schedule of faults is part of the plan and drawn in advance, so that the
removal of one fault does not change the other faults. `shrink` depends on this.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import asdict, evolve, field, frozen

from simulator.virtual.faults.catalog import KINDS, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROFILES = ("calm", "chaos", "discovery", "rolling", "overload", "big", "storm", "minority", "budget", "hour")
ADDRESSES = ("ports", "hosts")
GATEWAYS = ("", "own", "agent")
_TABLES = ("client", "own", "steps")
_WORKERS = 5
AT_QUEUE = 1000
"""Added to the number of an instance of the queue service, in `PlannedFault.where`."""


@frozen
class PlannedFault:
    """One fault of the schedule.

    Attributes:
        at_s: Time at which it begins, in seconds after the warm-up.
        kind: A key of `catalog.KINDS`.
        where: Number of the instance, zone, client or consumer; -1 for all, or for a kind without target. Instances of
            the queue service are numbered from `AT_QUEUE`.
        for_s: Length, in seconds.
        with_: Values of the parameters of the kind, by name.
    """

    at_s: float
    kind: str
    where: int = -1
    for_s: float = 0.0
    with_: Mapping[str, Any] = field(factory=dict)

    @property
    def how(self) -> str:
        """The length and the parameters as text, to be appended to a line."""
        lasts = f", for {self.for_s:g} s" if self.for_s else ""
        return lasts + "".join(f", {name}={value}" for name, value in self.with_.items())

    def __str__(self) -> str:
        kind = KINDS[self.kind]
        where = "" if self.where < 0 or kind.scope is Scope.FLEET else f" on {kind.scope} {self.where}"
        if self.where >= AT_QUEUE:
            where = f" on {kind.scope} {self.where - AT_QUEUE} of the queue"
        return f"{self.kind}{where}: {kind.says}{self.how}"


TRAFFIC: Mapping[str, str] = {
    "streams": "streams_per_s",
    "queues": "queue_per_s",
    "keys": "keys",
    "gateway": "gateway",
    "restarts": "restarts_s",
}
"""Kinds of traffic that only a part of the plans have, and the attribute of each that is then neither 0 nor empty."""


@frozen
class RunPlan:
    """The plan of a run.

    Attributes:
        seed: Seed of all random draws of the run.
        profile: Name of the profile.
        chaos_s: Length of the time in which faults may begin, in seconds.
        instances: Initial number of instances.
        weights: Weights of the first, second, … instance; 100 for the others.
        zones: Number of zones; instance i is in zone i modulo `zones`.
        addresses: `ports`: all instances have one IP address and different ports. `hosts`: each instance has its own IP
            address, and all have the same port.
        is_monotonic: Whether clients use elapsed time, on a reactor whose clock can be set.
        is_named: Whether the endpoint of clients is a host name instead of an IP address.
        gateway: How a program calls through the gateway: `own` for its client's connections, `agent` for an agent that
            may misbehave; empty for no such program.
        gateway_mode: Behaviour of the gateway when an instance refuses a connection: one of the simulator's
            `GATEWAY_MODES`.
        gateway_timeout_s: Seconds that the gateway waits for a response before it answers 504.
        services: Number of services; with 2, children of every other client call the second service.
        clients: Number of clients, each on its own host.
        per_s: Calls per second of each client.
        burst: Number of calls that start together.
        has_token: Whether calls are signed.
        large: Share of calls with a body of 200 KB.
        cancelled: Share of calls that the program cancels.
        once: Share of calls that are not idempotent.
        keys: Number of different keys of calls; 0 for calls without keys.
        streams_per_s: Streams per second of each client, in addition to its calls.
        queue_per_s: Puts per second of a program that uses a queue service; 0 for no such program.
        queue_instances: Initial number of instances of the queue service.
        queue_workers: Whether these instances process the frames of the input queue; the program then watches the sink
            instead of the input queue.
        queue_length: Greatest number of frames of each queue.
        restarts_s: Mean time between two lives of a program that is restarted, in seconds; 0 for no such program.
        is_heard: Whether the oracle listens to the events of the clients.
        work_s: Mean time that an instance takes to respond, in seconds.
        latency_s: Delay of one direction without faults, in seconds.
        jitter_s: Greatest additional delay, in seconds.
        client: Settings of the clients (`ClientConfig`).
        own: Further settings of the first, second, … client; if there are more clients, the entries are used again.
        steps: The faults.
    """

    seed: int
    profile: str = "chaos"
    chaos_s: float = 240.0
    instances: int = 3
    weights: Sequence[int] = ()
    zones: int = 3
    addresses: str = "ports"
    services: int = 1
    clients: int = 1
    per_s: float = 2.0
    burst: int = 1
    has_token: bool = True
    large: float = 0.0
    cancelled: float = 0.0
    work_s: float = 0.0
    latency_s: float = 0.0002
    jitter_s: float = 0.0005
    once: float = 0.0
    keys: int = 0
    streams_per_s: float = 0.0
    queue_per_s: float = 0.0
    queue_instances: int = 2
    queue_workers: bool = False
    queue_length: int = 100_000
    restarts_s: float = 0.0
    is_heard: bool = False
    is_monotonic: bool = False
    is_named: bool = False
    gateway: str = ""
    gateway_mode: str = "fail"
    gateway_timeout_s: float = 60.0
    client: Mapping[str, Any] = field(factory=dict)
    own: Sequence[Mapping[str, Any]] = ()
    steps: Sequence[PlannedFault] = ()

    @property
    def utilisation(self) -> float:
        """Mean share of the fleet's connections that are busy; near 1, calls have to wait for a connection."""
        limit: int = min(self.client.get("max_connections_per_instance", 100), _WORKERS)
        return self.per_s * self.clients * (self.work_s + 4 * self.latency_s) / max(1, self.instances * limit)

    def has(self, traffic: str) -> bool:
        """Return whether the run has a kind of traffic, one of `TRAFFIC`."""
        return bool(getattr(self, TRAFFIC[traffic]))

    def settings_of(self, number: int) -> dict[str, Any]:
        """Return the settings of a client."""
        return {**self.client, **(self.own[number % len(self.own)] if self.own else {})}

    def but(self, **changes: Any) -> RunPlan:
        """Return a copy with some attributes changed."""
        return evolve(self, **changes)

    def expanded(self, chaos_at_s: float = 0.0, until_s: float = math.inf) -> list[str]:
        """Describe the plan in lines of text, with the times of the event log.

        Args:
            chaos_at_s: Time at which the chaos phase begins, in virtual seconds.
            until_s: Time in virtual seconds; faults that begin later are counted, and not described.
        """
        values = asdict(self, filter=lambda attribute, _: attribute.name not in _TABLES)
        settings = ", ".join(f"{name}={value!r}" for name, value in values.items())
        begun = [step for step in self.steps if chaos_at_s + step.at_s <= until_s]
        later = len(self.steps) - len(begun)
        return [
            f"plan: {settings}",
            f"client: {_pairs(self.client) or 'defaults'}",
            *(f"client {number}, too: {_pairs(own) or 'nothing'}" for number, own in enumerate(self.own)),
            "faults that were drawn (times whose names do not end in _s are milliseconds):",
            *(f"  {chaos_at_s + step.at_s:.3f} {step}" for step in begun),
            *([f"  … and {later} later ones"] if later else []),
        ]

    def to_toml(self) -> str:
        """Format the plan as a TOML file, for `replay` and `plan_reader`."""
        values = asdict(self, filter=lambda attribute, _: attribute.name not in _TABLES)
        lines = [f"{name} = {_toml(value)}" for name, value in values.items()]
        lines += ["", "[client]", *(f"{name} = {_toml(value)}" for name, value in self.client.items())]
        for own in self.own:
            lines += ["", "[[own]]", *(f"{name} = {_toml(value)}" for name, value in own.items())]
        for step in self.steps:
            lines += ["", "[[steps]]"]
            lines += [f"{name} = {_toml(getattr(step, name))}" for name in ("at_s", "kind", "where", "for_s")]
            lines += [f"with.{name} = {_toml(value)}" for name, value in step.with_.items()]
        return "\n".join(lines) + "\n"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)
