"""Prometheus metrics of the journal's totals and of the fleet's state, in the text format 0.0.4."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from simulator.admin import views
from simulator.instance import State
from simulator.journal import BUCKETS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from simulator.instance import SimulatedInstance
    from simulator.queues.store import QueueStore
    from simulator.simulator import Simulator

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "eas_simulator_"
Sample = tuple[dict[str, str], float]


def text(world: Simulator) -> str:
    """Render all metrics."""
    return (
        "\n".join(
            [*_traffic(world), *_fleet(world), *_queues(world), *_discovery(world), *_faults(world), *_itself(world)]
        )
        + "\n"
    )


def _family(name: str, kind: str, says: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {says}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in samples:
        yield _line(name, labels, value)


def _line(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{_PREFIX}{name}{{{inside}}} {value!r}" if inside else f"{_PREFIX}{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _traffic(world: Simulator) -> Iterator[str]:
    accounts = [({"service": a.service, "instance": name}, a) for name, a in world.journal.accounts.items()]
    yield from _family(
        "requests_total",
        "counter",
        "Requests that reached an instance, by status of the response; 0 for no response.",
        (({**who, "status": str(status)}, n) for who, a in accounts for status, n in sorted(a.statuses.items())),
    )
    yield from _family(
        "faulty_requests_total",
        "counter",
        "Requests to which a fault applied.",
        ((who, a.faulty) for who, a in accounts),
    )
    yield from _family(
        "request_bytes_total", "counter", "Bytes of request bodies.", ((who, a.bytes_in) for who, a in accounts)
    )
    yield from _family(
        "response_bytes_total", "counter", "Bytes of response bodies.", ((who, a.bytes_out) for who, a in accounts)
    )
    yield from _family("request_duration_seconds", "histogram", "Time from the complete request to the response.", ())
    for who, account in accounts:
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        for bound, so_far in zip(bounds, accumulate(account.slower), strict=True):
            yield _line("request_duration_seconds_bucket", {**who, "le": bound}, so_far)
        yield _line("request_duration_seconds_sum", who, round(account.elapsed_s, 9))
        yield _line("request_duration_seconds_count", who, account.requests)


def _fleet(world: Simulator) -> Iterator[str]:
    found = [instance for service in world.services.values() for instance in service.instances.values()]
    everyone = [(_who(instance), instance) for instance in found]
    yield from _family(
        "instance_state",
        "gauge",
        "1 for the present state of an instance, 0 for the others.",
        (({**who, "state": state.value}, int(i.state is state)) for who, i in everyone for state in State),
    )
    yield from _family(
        "instance_weight",
        "gauge",
        "Weight of an instance in discovery replies.",
        ((who, i.weight) for who, i in everyone),
    )
    yield from _family(
        "instance_registered",
        "gauge",
        "Whether discovery replies list an instance.",
        ((who, int(i.registered)) for who, i in everyone),
    )
    yield from _family(
        "connections", "gauge", "Open connections.", ((who, len(i.server.connections)) for who, i in everyone)
    )
    yield from _family(
        "requests_in_flight",
        "gauge",
        "Requests that are not completely answered.",
        ((who, views.in_flight(i)) for who, i in everyone),
    )
    yield from _family(
        "streams_running", "gauge", "Running streamed responses.", ((who, len(i.streams)) for who, i in everyone)
    )
    yield from _family("workers_busy", "gauge", "Busy workers.", ((who, i.workers.busy) for who, i in everyone))
    yield from _family(
        "requests_queued",
        "gauge",
        "Requests that wait for a worker.",
        ((who, i.workers.waiting) for who, i in everyone),
    )


def _queues(world: Simulator) -> Iterator[str]:
    stores = [queue.store for service in world.services.values() if service.queues for queue in service.queues.queues]
    counts: dict[str, tuple[str, Callable[[QueueStore], int]]] = {
        "queue_length": ("Frames in a queue.", lambda store: len(store.frames)),
        "queue_pending": ("Frames that were sent to a consumer and are not committed.", lambda store: store.pending),
        "queue_consumers": ("Consumers with an open watch, workers included.", lambda store: store.consumers),
    }
    for name, (says, count) in counts.items():
        yield from _family(name, "gauge", says, (({"queue": store.name}, count(store)) for store in stores))


def _who(instance: SimulatedInstance) -> dict[str, str]:
    return {"service": instance.service.name, "instance": instance.id}


def _discovery(world: Simulator) -> Iterator[str]:
    yield from _family(
        "discovery_requests_total",
        "counter",
        "Discovery requests, by result: a fault type, ok, or unknown_service.",
        (({"answer": answer}, count) for answer, count in sorted(world.control_plane.requests.items())),
    )


def _faults(world: Simulator) -> Iterator[str]:
    counts = [
        ({"fault": world.mask(fault.name), "type": fault.type}, world.faults.activation_count(fault.name))
        for fault in world.faults
    ]
    yield from _family("fault_activations_total", "counter", "Activations of an active fault.", counts)
    yield from _family("fault_strikes_total", "counter", "Deprecated: fault_activations_total.", counts)


def _itself(world: Simulator) -> Iterator[str]:
    yield from _family("journal_rows", "gauge", "Rows in the journal.", [({}, len(world.journal.rows))])
    yield from _family("event_streams", "gauge", "Open event streams.", [({}, len(world.admin.hub.streams))])
    yield from _family(
        "uptime_seconds", "gauge", "Seconds since the simulator began to listen.", [({}, round(world.uptime_s, 3))]
    )
