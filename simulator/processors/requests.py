"""Processors that are given the whole request: method, path and headers beside the body."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from attrs import frozen

from simulator.processors.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random


@frozen
class ProcessorRequest:
    """A request, as a processor sees it.

    Attributes:
        method: Such as `POST`.
        path: Path below the service's own, such as `/v1/models`; empty for the service's own.
        query: Query of the target, without its question mark.
        headers: Names in lower case.
        body: The bytes, decompressed.
        instance: Id of the instance.
        clock: The simulator's time: `clock.seconds()`, `clock.callLater(seconds, function)`.
        rng: The instance's random numbers.
        seed: The simulator's seed.
        memory: What the processor keeps on this instance from one request to the next; a crash empties it.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    instance: str
    clock: Any
    rng: Random
    seed: int
    memory: dict[str, Any]


class RequestProcessor(ABC):
    """A processor that is given a `ProcessorRequest`."""

    @abstractmethod
    def answer(self, request: ProcessorRequest) -> Any:
        """Return bytes, text, a `Response`, a `StreamResponse`, an iterator of pieces, or a Deferred of one."""


@frozen
class UserRequestProcessor(RequestProcessor):
    """A user's callable that takes a `ProcessorRequest`; `request+MODULE:CALLABLE`.

    Attributes:
        function: The callable.
    """

    function: Callable[[ProcessorRequest], Any]

    def answer(self, request: ProcessorRequest) -> Any:
        """Call the function, in a thread of its own if it may block (`RequestProcessor`)."""
        if never_blocks(self.function):
            return self.function(request)
        return in_thread(request.clock, self.function, request)


def never_blocks(function: Callable[..., Any]) -> bool:
    """Whether a callable says itself that it does not block.

    Coroutine functions and generator functions do, asynchronous ones too, and those that are declared to return a
    Deferred.
    """
    called = function if inspect.isroutine(function) else type(function).__call__
    wrapped = getattr(called, "__wrapped__", called)  # `inlineCallbacks` leaves the generator function here
    declared = getattr(called, "__annotations__", {}).get("return", "")
    return (
        inspect.iscoroutinefunction(called)
        or inspect.isasyncgenfunction(called)
        or inspect.isgeneratorfunction(wrapped)
        or "Deferred" in str(declared)
    )
