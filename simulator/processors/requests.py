"""Processors that take the whole request: method, path and headers in addition to the body."""

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
    """The request that a processor receives.

    Attributes:
        method: HTTP method, such as `POST`.
        path: Path relative to the service's path, such as `/v1/models`; empty for the service's path.
        query: Query of the target, without its question mark.
        headers: Header fields with names in lower case.
        body: The body, decompressed.
        instance: Id of the instance.
        clock: Clock of the simulator: `clock.seconds()`, `clock.callLater(seconds, function)`.
        rng: Random numbers of the instance.
        seed: Seed of the simulator.
        memory: State that the processor stores on this instance between requests; a crash or a reset clears it.
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
    """A processor that takes a `ProcessorRequest`."""

    @abstractmethod
    def answer(self, request: ProcessorRequest) -> Any:
        """Return a result: bytes, text, `Response`, `StreamResponse`, an iterator of pieces, `Later`, or a Deferred."""


@frozen
class UserRequestProcessor(RequestProcessor):
    """A user's callable that takes a `ProcessorRequest`, selected by `request+MODULE:CALLABLE`.

    Attributes:
        function: The callable.
    """

    function: Callable[[ProcessorRequest], Any]

    def answer(self, request: ProcessorRequest) -> Any:
        """Call the function, in its own thread if it may block (`RequestProcessor`)."""
        if never_blocks(self.function):
            return self.function(request)
        return in_thread(request.clock, self.function, request)


def never_blocks(function: Callable[..., Any]) -> bool:
    """Return whether a callable declares that it does not block.

    True for coroutine functions, generator functions, asynchronous generator functions, and functions annotated to
    return a Deferred.
    """
    called = function if inspect.isroutine(function) else type(function).__call__
    wrapped = getattr(called, "__wrapped__", called)  # the generator function of `inlineCallbacks`
    declared = getattr(called, "__annotations__", {}).get("return", "")
    return (
        inspect.iscoroutinefunction(called)
        or inspect.isasyncgenfunction(called)
        or inspect.isgeneratorfunction(wrapped)
        or "Deferred" in str(declared)
    )
