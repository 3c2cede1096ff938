"""Probes: connect the oracle to the simulated instances and the control plane.

The simulator's code is not changed; its handlers are wrapped.
"""

from __future__ import annotations

from functools import partial
from math import gcd
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred

from simulator.delivery import Wire
from simulator.messages import Response
from simulator.virtual.checkers.discovery import good_view
from simulator.virtual.network.fault_points import is_injected
from simulator.virtual.stream_service import call_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.fleet import Service
    from simulator.instance import SimulatedInstance
    from simulator.messages import Answer, ReceivedRequest
    from simulator.simulator import Simulator
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.faults.rewriting import Rewriting
    from simulator.virtual.lives import Lives
    from simulator.virtual.oracle import Oracle


_OK = 200


def install(simulator: Simulator, oracle: Oracle, rewriting: Rewriting) -> None:
    """Report every later request and discovery reply to the oracle, also the requests at instances that are added."""
    for service in simulator.services.values():
        if service.queues is None:  # `queue_probes` observes a queue service
            _at_service(service, oracle, rewriting)
    _at_control_plane(simulator, oracle, rewriting)


def _at_service(service: Service, oracle: Oracle, rewriting: Rewriting) -> None:
    for instance in service.instances.values():
        _at_instance(instance, oracle, rewriting)
    add = service.add_instance

    def add_and_listen(**given: Any) -> SimulatedInstance:
        instance = add(**given)
        _at_instance(instance, oracle, rewriting)
        return instance

    service.add_instance = add_and_listen  # type: ignore[method-assign]


def at_apply(sut: ClientUnderTest, fleet: Any, oracle: Oracle) -> None:
    """Add the fault point `apply` to the steps by which a client applies a list."""
    failing, apply = sut.reactor.failing, fleet.apply
    applying: list[bool] = []

    def apply_or_raise(instances: Any) -> Any:
        applying.append(True)
        try:
            return apply(instances)
        except BaseException as error:
            if is_injected(error):
                oracle.apply_raised(sut)
                if sut.reactor.meter is not None:
                    sut.reactor.meter.raised(max(len(instances), len(fleet.instances)))
            raise
        finally:
            applying.clear()

    def wrap(part: Any, method: str, point: str) -> None:
        step = getattr(part, method)

        def step_or_raise(*given: Any, **named: Any) -> Any:
            if applying and failing.is_on and (error := failing.error_at(point)) is not None:
                # Raise once for each list: the client then restores the old list by the same steps, which must succeed.
                applying.clear()
                raise error
            return step(*given, **named)

        setattr(part, method, step_or_raise)

    fleet.apply = apply_or_raise
    for point, (part, method) in sut.parts_of_apply().items():
        wrap(part, method, f"apply {point}")


def cycle(weights: Iterable[float]) -> int:
    """Return the number of calls in a whole cycle of the rotation."""
    whole = [int(weight) for weight in weights]
    return sum(whole) // (gcd(*whole) or 1)


def _at_instance(instance: SimulatedInstance, oracle: Oracle, rewriting: Rewriting) -> None:
    server = instance.server
    handle, closed = server.handle, server.closed

    def listen(request: ReceivedRequest) -> Answer | Deferred[Answer]:
        address = (instance.ip, instance.port)
        connection = request.connection
        name = call_of(request)
        oracle.reached(address, connection, name)
        oracle.dated(name, request.headers.get("date", ""))

        def told(answer: Answer) -> Answer:
            oracle.answered(connection)
            return rewriting.answer(address, answer)

        answer = handle(request)
        return answer.addCallback(told) if isinstance(answer, Deferred) else told(answer)

    def forget(connection: Any) -> None:
        oracle.closed(connection)
        closed(connection)

    server.handle = listen
    server.closed = forget  # type: ignore[method-assign]


def _document(raw: bytes) -> bytes:
    """Extract the JSON document from malformed HTTP, as a lenient client might."""
    return raw[raw.find(b"{") : raw.rfind(b"}") + 1]


def _tell(answer: Answer, hear: Callable[[int, bytes], object]) -> Answer:
    """Pass the status and the body of a reply to `hear`; for malformed HTTP, status 200 and the JSON in it."""
    if isinstance(answer, Response):
        hear(answer.status, answer.body)
    elif isinstance(answer, Wire):
        answer = evolve(answer, pieces=tuple(answer.pieces))
        hear(_OK, _document(b"".join(piece for _, piece in answer.pieces)))
    return answer


def _to_lives(lives: Lives, answer: Answer | Deferred[Answer], *, is_own: bool) -> Answer | Deferred[Answer]:
    """Pass a reply for the restarting program through `lives`; a reply for its child client is not recorded."""

    def told(answer: Answer) -> Answer:
        answer = lives.reply(answer)
        if is_own:
            is_sure = isinstance(answer, Response)
            answer = _tell(answer, lambda status, body: lives.told(good_view(status, body), is_sure=is_sure))
        return answer

    return answer.addCallback(told) if isinstance(answer, Deferred) else told(answer)


def _at_control_plane(simulator: Simulator, oracle: Oracle, rewriting: Rewriting) -> None:
    server = simulator._server  # noqa: SLF001  it has no public name
    handle = server.handle

    def listen(request: ReceivedRequest) -> Answer | Deferred[Answer]:
        host = request.connection.transport.client[0]
        sut, lives = oracle.asking(host, request.target), oracle.lives
        if lives is not None and host == lives.ip:
            return _to_lives(lives, handle(request), is_own=request.path.endswith(f"/{lives.service}"))
        if sut is None:
            return handle(request)
        oracle.discovery.asked(sut)

        def told(answer: Answer) -> Answer:
            return _tell(rewriting.reply(answer), partial(oracle.told, sut))

        answer = handle(request)
        return answer.addCallback(told) if isinstance(answer, Deferred) else told(answer)

    server.handle = listen
