"""Processors: what an instance computes.

A processor is a callable of the request's body, or of the value that a codec decodes from it. It returns bytes, text, a
`Response` or a value that the codec encodes; immediately, later (`Later`), or as a Deferred or coroutine. An exception
becomes a 400 with the exception's text. `compute` is the only way from a body to a result. Built-in processors run
immediately; a user's ordinary function runs in its own thread, so that a function that blocks occupies its worker and
nothing else.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred

from simulator.durations import Duration
from simulator.processors import echoes
from simulator.processors.codecs import CODECS, PLAIN, Codec
from simulator.processors.compressed import Compressed, check, split
from simulator.processors.forward import Forward
from simulator.processors.mnist import mnist
from simulator.processors.sleep import Later, Sleep, sleep
from simulator.processors.tensors import Tensor
from simulator.processors.threads import in_thread
from simulator.processors.torch import torch

SEARCH_PATH: list[str] = []
"""Folders that are searched for modules of users' processors, after everything that is installed."""


class ProcessorError(ValueError):
    """A processor that cannot be loaded; the text says why."""


@frozen
class UserProcessor:
    """A user's callable with its codec.

    Attributes:
        function: Takes the decoded value; returns the value to encode, or a Deferred or coroutine of it.
        codec: Converts between bytes and values.
    """

    function: Callable[[Any], Any]
    codec: Codec = PLAIN

    def begin(self, body: bytes) -> Any:
        """Call the function with the decoded body; returns a value, or a Deferred or coroutine of one."""
        return self.function(self.codec.decode(body))

    is_patient: bool = field(init=False)
    """Whether the function declares that it does not block: a coroutine function, or one annotated with a Deferred."""

    @is_patient.default
    def _look_at_function(self) -> bool:
        called = self.function if inspect.isroutine(self.function) else type(self.function).__call__
        wrapped = getattr(called, "__wrapped__", called)  # `inlineCallbacks` keeps the generator function here
        declared = getattr(called, "__annotations__", {}).get("return", "")
        return (
            inspect.iscoroutinefunction(called) or inspect.isgeneratorfunction(wrapped) or "Deferred" in str(declared)
        )


Processor = UserProcessor | Compressed | Forward | Callable[[bytes], Any]
__all__ = [
    "BUILT_IN", "CODECS", "PLAIN", "Codec", "Compressed", "Forward", "Later", "Processor", "ProcessorError", "Sleep",
    "Tensor", "UserProcessor", "compute", "echo", "find", "mnist", "sleep", "torch",
]  # fmt: skip


def _then(result: Any, encode: Callable[[Any], Any]) -> Any:
    if isinstance(result, Deferred):
        return result.addCallback(_then, encode)
    if inspect.iscoroutine(result):
        return Deferred.fromCoroutine(result).addCallback(_then, encode)
    if isinstance(result, Later):
        return Later(result.seconds, encode(result.value))
    return encode(result)


def compute(processor: Processor, body: bytes, reactor: Any) -> Any:
    """Run a processor on a body; returns bytes, text, `Later` or a Deferred of them, or raises."""
    if isinstance(processor, Compressed):
        return _then(compute(processor.inner, processor.read(body), reactor), processor.write)
    if isinstance(processor, Forward):
        raise ProcessorError("forward cannot stand inside another processor")
    if not isinstance(processor, UserProcessor):
        return processor(body)
    begun = processor.begin(body) if processor.is_patient else in_thread(reactor, processor.begin, body)
    return _then(begun, processor.codec.encode)


def echo(body: bytes) -> bytes:
    """Return the body."""
    return body


BUILT_IN: dict[str, Processor] = {"echo": echo, "mnist": mnist, "sleep": sleep, "torch": torch, **echoes.ECHOES}


def find(name: str | Processor | Callable[[Any], Any], service: str) -> Processor:
    """Load the processor of a name.

    Args:
        name: One of the forms below, or a callable.
        service: Name of the service, which selects the processor when `name` is empty.

    The forms of a name:

    1. A key of `BUILT_IN`.
    2. `sleep:` and a duration; `forward:` and a URL.
    3. `MODULE:CALLABLE`, or `CODEC+MODULE:CALLABLE` for a callable that takes and returns decoded values.
    4. Empty: scores for a service whose own name, after `group/`, starts with `mnist`; an echo for every other.
    5. `gzip+NAME` decompresses requests, `NAME+gzip` compresses responses (see `compressed.COMPRESSIONS`).

    Raises:
        ProcessorError: There is no such processor.
    """
    if isinstance(name, UserProcessor | Sleep | Compressed | Forward):
        return name
    if not isinstance(name, str):
        return name if name in BUILT_IN.values() else UserProcessor(name)
    before, name, after = split(name)
    if before or after:
        return _compressed(find(name, service), before, after)
    if not name:
        name = "mnist" if service.rpartition("/")[2].startswith("mnist") else "echo"
    if name in BUILT_IN:
        return BUILT_IN[name]
    return _with_argument(name)


_WITH_ARGUMENT: dict[str, Callable[[str], Processor]] = {
    "sleep": lambda argument: Sleep(Duration.parse(argument)),
    "forward": Forward,
}


def _with_argument(name: str) -> Processor:
    head, _, rest = name.partition(":")
    if head in _WITH_ARGUMENT and rest:
        try:
            return _WITH_ARGUMENT[head](rest)
        except ValueError as error:
            raise ProcessorError(f"processor {name}: {error}") from None
    codec, plus, module = head.rpartition("+")
    if not module or not rest:
        raise ProcessorError(
            f"processor must be {', '.join(BUILT_IN)}, sleep:SECONDS, forward:URL or [CODEC+]MODULE:CALLABLE, "
            f"got {name!r}"
        )
    if plus and codec not in CODECS:
        raise ProcessorError(f"processor {name}: codec must be one of {', '.join(CODECS)}, got {codec!r}")
    return UserProcessor(_load(name, module, rest), CODECS[codec] if plus else PLAIN)


def _compressed(processor: Processor, before: str, after: str) -> Compressed:
    for compression in (before, after):
        try:
            check(compression)
        except ImportError as error:
            raise ProcessorError(f"processor {compression} needs cramjam: pip install 'eas-tw[simulator]'") from error
    return Compressed(processor, before, after)


def _load(name: str, module: str, attribute: str) -> Callable[[Any], Any]:
    # Appended, so that a module of the user's project cannot replace one that the simulator imports.
    sys.path += [folder for folder in SEARCH_PATH if folder not in sys.path]
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ProcessorError(f"processor {name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ProcessorError(f"processor {name} is a {type(found).__name__}, not a callable")
    return found  # type: ignore[no-any-return]
