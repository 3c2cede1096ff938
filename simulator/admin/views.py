"""How things look through the admin API: JSON values, made anew each time, without a token in any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attrs import asdict

from simulator.journal import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.captures import Capture
    from simulator.faults import Fault
    from simulator.fleet import Service
    from simulator.instance import SimulatedInstance
    from simulator.journal import Row
    from simulator.replies import Reply
    from simulator.simulator import Simulator
    from simulator.stubs import Stub

MASK = "•••"


def state(world: Simulator) -> dict[str, Any]:
    """Everything at a glance."""
    journal, replies = world.journal, world.control_plane.replies
    return {
        "seed": world.seed,
        "url": world.url,
        "uptime_s": round(world.uptime_s, 3),
        "services": [service(found) for found in world.services.values()],
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


def service(found: Service) -> dict[str, Any]:
    """A service with its instances."""
    return {
        "name": found.name,
        "has_token": bool(found.token),
        "instances": [instance(one) for one in found.instances.values()],
    }


def instance(found: SimulatedInstance) -> dict[str, Any]:
    """An instance, with its account."""
    account = found.service.world.journal.account(found.id)
    return {
        "id": found.id,
        "service": found.service.name,
        "ip": found.ip,
        "port": found.port,
        "weight": found.weight,
        "zone": found.zone,
        "state": found.state.value,
        "registered": found.registered,
        "connections": len(found.server.connections),
        "in_flight": in_flight(found),
        "busy": found.workers.busy,
        "queued": found.workers.waiting,
        "requests": account.requests,
        "failures": account.failures,
    }


def in_flight(found: SimulatedInstance) -> int:
    """How many of its connections have a request that is not answered yet."""
    return sum(not connection.is_idle for connection in found.server.connections)


def fault(world: Simulator, found: Fault) -> dict[str, Any]:
    """A fault, and how often it struck."""
    return {**found.to_json(), "struck": world.faults.struck(found.name)}


def masker(world: Simulator) -> Callable[[str], str]:
    """What takes the tokens of all services out of a text: a client may have put one into a path."""
    tokens = {token for found in world.services.values() for token in (found.token, quote(found.token, "")) if token}
    ordered = sorted(tokens, key=len, reverse=True)

    def mask(text: str) -> str:
        for token in ordered:
            if token in text:
                text = text.replace(token, MASK)
        return text

    return mask


def row(mask: Callable[[str], str], number: int, found: Row) -> dict[str, Any]:
    """A row of the journal."""
    return {**to_json(number, found), "path": mask(found.path)}


def stub(mask: Callable[[str], str], found: Stub) -> dict[str, Any]:
    """A stub, and how often it has answered."""
    return {"name": mask(found.name), "request": mask(str(found.request)), "times": found.times, "hits": found.hits}


def captured(mask: Callable[[str], str], found: Capture | None) -> dict[str, Any] | None:
    """The headers and bodies of a row, as far as they were kept."""
    if found is None:
        return None
    response = found.response
    return {"request": found.request.to_json(mask), "response": response.to_json(mask) if response else None}


def reply(world: Simulator, found: Reply) -> dict[str, Any]:
    """A reply of discovery."""
    mask = masker(world)
    return {**asdict(found), "path": mask(found.path), "body": mask(found.body)}
