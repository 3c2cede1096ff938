"""Where the oracle listens: at the doors of the simulated instances and of the control plane.

The simulator's own code is not changed; its doors are given a listener. So is the client's seam between calls and
fleet, and nothing else of it.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred

from simulator.delivery import Wire
from simulator.messages import Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.fleet import Service
    from simulator.instance import SimulatedInstance
    from simulator.messages import Answer, Request
    from simulator.simulator import Simulator
    from simulator.virtual.oracle import Oracle
    from simulator.virtual.subject import Subject


_OK = 200


def install(simulator: Simulator, service: Service, oracle: Oracle) -> None:
    """Let the oracle hear every request and every reply of the control plane, from now on and of whoever joins."""
    for instance in service.instances.values():
        _at_instance(instance, oracle)
    add = service.add_instance

    def add_and_listen(**given: Any) -> SimulatedInstance:
        instance = add(**given)
        _at_instance(instance, oracle)
        return instance

    service.add_instance = add_and_listen  # type: ignore[method-assign]
    _at_control_plane(simulator, oracle)


def at_fleet(subject: Subject, oracle: Oracle) -> None:
    """Let the oracle hear where a client that has been opened sends its calls."""
    oracle.choices.watch(subject, subject.client._session.fleet)  # noqa: SLF001  the seam between calls and fleet


def cycle(weights: Iterable[float]) -> int:
    """How many calls a whole cycle of the rotation is."""
    whole = [int(weight) for weight in weights]
    return sum(whole) // (gcd(*whole) or 1)


def _at_instance(instance: SimulatedInstance, oracle: Oracle) -> None:
    server = instance.server
    handle, closed = server.handle, server.closed

    def listen(request: Request) -> Answer | Deferred[Answer]:
        address = (instance.ip, instance.port)
        connection = request.connection
        name = request.body[: request.body.find(b"|")].decode("ascii", "replace")
        oracle.reached(address, connection, name, connection.transport.client[0])
        answer = handle(request)
        if isinstance(answer, Deferred):
            answer.addCallback(_and_tell, oracle, connection)
        else:
            oracle.answered(connection)
        return answer

    def forget(connection: Any) -> None:
        oracle.closed(connection)
        closed(connection)

    server.handle = listen
    server.closed = forget  # type: ignore[method-assign]


def _document(raw: bytes) -> bytes:
    """What a reader who overlooks everything else could take for the list in bytes that are no proper HTTP."""
    return raw[raw.find(b"{") : raw.rfind(b"}") + 1]


def _and_tell(answer: Answer, oracle: Oracle, connection: Any) -> Answer:
    oracle.answered(connection)
    return answer


def _at_control_plane(simulator: Simulator, oracle: Oracle) -> None:
    server = simulator._server  # noqa: SLF001  a door of the simulator's
    handle = server.handle

    def listen(request: Request) -> Answer | Deferred[Answer]:
        subject = oracle.subjects.get(request.connection.transport.client[0])
        if subject is None:
            return handle(request)
        oracle.views.asked(subject)

        def told(answer: Answer) -> Answer:
            if isinstance(answer, Response):
                oracle.told(subject, answer.status, answer.body)
            elif isinstance(answer, Wire):
                answer = evolve(answer, pieces=tuple(answer.pieces))
                oracle.told(subject, _OK, _document(b"".join(piece for _, piece in answer.pieces)))
            return answer

        answer = handle(request)
        return answer.addCallback(told) if isinstance(answer, Deferred) else told(answer)

    server.handle = listen
