"""The computation of a response: by a stub, by another program, or by the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from simulator.later import Later
from simulator.processors import Forward, ProcessorRequest, compute

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.faults import Fault
    from simulator.instance import SimulatedInstance
    from simulator.messages import ReceivedRequest
    from simulator.stubs import StubResponse


def work_s(instance: SimulatedInstance, faults: Iterable[Fault]) -> float:
    """Draw the time that a worker takes before the processor runs, in seconds."""
    processing = instance.service.spec.processing
    taken_s = 0.0 if processing.is_nothing else processing.draw(instance.rng)
    for fault in faults:
        if fault.type == "slow":
            taken_s = taken_s * fault.get("factor") + fault.get("extra") / 1000
    return taken_s


def compute_request(instance: SimulatedInstance, request: ReceivedRequest) -> Any:
    """Return the response of a stub, or the result of the processor, in any form that a processor may return.

    Raises:
        Exception: The processor raised the exception; the response is a 400.
    """
    service = instance.service
    clock, processor = service.world.reactor, service.processor
    if service.stubs:
        return _canned(instance, request, service.stubs.answer(request, service.below(request.path)))
    if isinstance(processor, Forward):
        return processor.send(clock, request, service.below(request.path))
    return compute(processor, request.body, clock, _processor_request(instance, request))


def _processor_request(instance: SimulatedInstance, request: ReceivedRequest) -> ProcessorRequest:
    service = instance.service
    return ProcessorRequest(
        method=request.method,
        path=service.below(unquote(request.path) if "%" in request.target else request.path),
        query=request.query,
        headers=request.headers,
        body=request.body,
        instance=instance.id,
        clock=service.world.reactor,
        rng=instance.rng,
        seed=service.world.seed,
        memory=instance.memory,
    )


def _canned(instance: SimulatedInstance, request: ReceivedRequest, stub: StubResponse) -> Any:
    if stub.forward:
        service = instance.service
        return Forward(stub.forward).send(service.world.reactor, request, service.below(request.path))
    return Later(stub.delay_s, stub.response) if stub.delay_s else stub.response
