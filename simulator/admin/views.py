"""JSON views of the simulator for the admin API, computed for each request, with all tokens masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import asdict

from simulator.journal import to_json
from simulator.replies import MAX_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.captures import Capture
    from simulator.fault_registry import Activation
    from simulator.faults import Fault
    from simulator.fleet import Service
    from simulator.http1 import ServerConnection
    from simulator.instance import SimulatedInstance
    from simulator.journal import Row
    from simulator.queues.frames import Consumer
    from simulator.queues.queue import Queue
    from simulator.replies import Reply
    from simulator.simulator import Simulator
    from simulator.stream_records import RunningStream
    from simulator.stubs import Stub


def state(world: Simulator, connection: ServerConnection | None = None) -> dict[str, Any]:
    """Render the whole state for the client of `connection`; `None` for a client on this machine."""
    journal, replies = world.journal, world.control_plane.replies
    return {
        "seed": world.seed,
        "nonce": world.nonce,
        "url": f"http://{world.authority_to(connection)}",
        "uptime_s": round(world.uptime_s, 3),
        "services": [service(found, connection) for found in world.services.values()],
        "faults": [fault(world, found) for found in world.faults],
        "requests": {
            "total": journal.total,
            "failures": sum(account.failures for account in journal.accounts.values()),
            "by_instance": dict(journal.by_instance),
        },
        "discovery": {
            "requests": world.control_plane.requests.total(),
            "by_answer": dict(world.control_plane.requests),
            "replies": [reply(world, found) for found in replies.latest.values()],
        },
    }


def service(found: Service, connection: ServerConnection | None = None) -> dict[str, Any]:
    """Render a service with its instances."""
    return {
        "name": found.name,
        "has_token": bool(found.token),
        "gateway": found.gateway,
        "is_queue_service": found.queues is not None,
        "instances": [instance(one, connection) for one in found.instances.values()],
    }


def instance(found: SimulatedInstance, connection: ServerConnection | None = None) -> dict[str, Any]:
    """Render an instance with its request totals."""
    account = found.service.world.journal.account(found.id)
    return {
        "id": found.id,
        "service": found.service.name,
        "ip": found.service.world.ip_to(found.ip, connection),
        "port": found.port,
        "weight": found.weight,
        "zone": found.zone,
        "state": found.state.value,
        "registered": found.registered,
        "connections": len(found.server.connections),
        "in_flight": in_flight(found),
        "streams": len(found.streams),
        "busy": found.workers.busy,
        "queued": found.workers.waiting,
        "requests": account.requests,
        "failures": account.failures,
    }


def in_flight(found: SimulatedInstance) -> int:
    """Count the connections on which a request is not completely answered yet."""
    return sum(not connection.is_idle for connection in found.server.connections)


def fault(world: Simulator, found: Fault) -> dict[str, Any]:
    """Render a fault and its number of activations. Name and attributes are masked, since they come from clients."""
    given = found.to_json()
    masked = {name: world.mask.value(given[name]) for name in ("name", "attributes")}
    return {**given, **masked, "struck": world.faults.activation_count(found.name)}


def activation(world: Simulator, found: Activation) -> dict[str, Any]:
    """Render an activation."""
    return {**asdict(found), "fault": world.mask(found.fault)}


def row(world: Simulator, number: int, found: Row) -> dict[str, Any]:
    """Render a row of the journal; the path is masked, since a client may have put a token into it."""
    path = world.mask(found.path, is_cut=found.path.endswith("…"))
    return {**to_json(number, found), "path": path, "fault": world.mask(found.fault)}


def stream(world: Simulator, found: RunningStream) -> dict[str, Any]:
    """Render a running streamed response."""
    target = found.request.target
    is_cut = len(target) > MAX_PATH
    return {
        "service": found.instance.service.name,
        "instance": found.instance.id,
        "peer": found.request.connection.peer,
        "method": found.request.method,
        "path": world.mask(f"{target[:MAX_PATH]}…" if is_cut else target, is_cut=is_cut),
        "status": found.status,
        "elapsed_s": round(found.elapsed_s, 3),
        "first_byte_s": round(found.first_byte_s, 6),
        "bytes_out": found.bytes_out,
    }


def streams(world: Simulator, service: str | None = None, instance: str | None = None) -> Iterator[RunningStream]:
    """Yield the running streamed responses of all instances, or of the named service or instance."""
    for one in world.services.values():
        for found in one.instances.values():
            if service in (None, one.name) and instance in (None, found.id):
                yield from found.streams


def queue(world: Simulator, found: Queue) -> dict[str, Any]:
    """Render a queue with its groups and consumers; their names are masked, since they come from clients."""
    store = found.store
    return {
        "name": store.name,
        "length": len(store.frames),
        "max_length": store.max_length,
        "pending": store.pending,
        "consumers": store.consumers,
        "first_index": next(iter(store.frames), 0),
        "last_index": next(reversed(store.frames), 0),
        "has_ended": store.has_ended,
        "groups": [
            {
                "name": world.mask(group.name),
                "waiting": group.waiting,
                "pending": len(group.pending),
                "committed": len(group.committed),
                "consumers": [_consumer(world, one, found.now) for one in group.consumers.values()],
            }
            for group in store.groups.values()
        ],
    }


def _consumer(world: Simulator, found: Consumer, now: float) -> dict[str, Any]:
    return {
        "user": world.mask(found.user),
        "status": found.status(now).value,
        "pending": len(found.pending),
        "window": found.settings.window,
        "auto_commit": found.settings.auto_commit,
        "last_index": found.last_index,
    }


def stub(world: Simulator, found: Stub) -> dict[str, Any]:
    """Render a stub and the number of requests that it has answered."""
    name, request = world.mask(found.name), world.mask(str(found.request))
    return {"name": name, "request": request, "times": found.times, "hits": found.hits}


def captured(world: Simulator, found: Capture | None) -> dict[str, Any] | None:
    """Render the captured headers and bodies of a row; `None` if they were not stored."""
    if found is None:
        return None
    response = found.response
    return {
        "request": found.request.to_json(world.mask),
        "response": response.to_json(world.mask) if response else None,
    }


def reply(world: Simulator, found: Reply) -> dict[str, Any]:
    """Render a discovery reply."""
    path = world.mask(found.path, is_cut=len(found.path) == MAX_PATH)
    body = world.mask(found.body, is_cut=len(found.body) < found.body_bytes)
    return {**asdict(found), "path": path, "body": body}
