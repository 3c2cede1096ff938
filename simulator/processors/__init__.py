"""What an instance computes.

A processor is a callable of the request's body, or of what a codec makes of it. It answers bytes, text, a `Response`
or what the codec makes bytes of; at once, later (`Later`), or as a Deferred or coroutine; what it raises is the
caller's 400, with the exception's text. `compute` is the one way from a body to a result: built-in processors run at
once; a user's ordinary function runs in a thread of its own, so that one which blocks holds up its worker and nothing
else.
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
"""Folders in which modules of users' processors are looked for, after everything that is installed."""


class ProcessorError(ValueError):
    """A processor that cannot be had; the text says why."""


@frozen
class UserProcessor:
    """A user's callable, and what stands between it and the bytes.

    Attributes:
        function: Takes what the codec decodes, answers what the codec encodes, or a Deferred or coroutine of that.
        codec: Between bytes and values.
    """

    function: Callable[[Any], Any]
    codec: Codec = PLAIN

    def begin(self, body: bytes) -> Any:
        """What the callable answers: a value, or a Deferred or coroutine of one."""
        return self.function(self.codec.decode(body))

    is_patient: bool = field(init=False)
    """Whether it says itself that it never blocks: a coroutine function, or one declared to answer a Deferred."""

    @is_patient.default
    def _look_at_function(self) -> bool:
        called = self.function if inspect.isroutine(self.function) else type(self.function).__call__
        wrapped = getattr(called, "__wrapped__", called)  # `inlineCallbacks` leaves the generator function here
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
    """What a processor makes of a body: bytes, text, `Later` or a Deferred of them; or it raises."""
    if isinstance(processor, Compressed):
        return _then(compute(processor.inner, processor.read(body), reactor), processor.write)
    if isinstance(processor, Forward):
        raise ProcessorError("forward cannot stand inside another processor")
    if not isinstance(processor, UserProcessor):
        return processor(body)
    begun = processor.begin(body) if processor.is_patient else in_thread(reactor, processor.begin, body)
    return _then(begun, processor.codec.encode)


def echo(body: bytes) -> bytes:
    """The body, back."""
    return body


BUILT_IN: dict[str, Processor] = {"echo": echo, "mnist": mnist, "sleep": sleep, "torch": torch, **echoes.ECHOES}


def find(name: str | Processor | Callable[[Any], Any], service: str) -> Processor:
    """The processor of that name.

    Args:
        name: A key of `BUILT_IN`; `sleep:` and a duration; `forward:` and a URL; `MODULE:CALLABLE`, or
            `CODEC+MODULE:CALLABLE` for one that takes and answers values; a callable; empty for what suits the service:
            one whose own name, behind a `group/`, starts with `mnist` computes scores, every other one echoes.
            `gzip+NAME` takes compressed
            requests, `NAME+gzip` compresses its answers (see `compressed.COMPRESSIONS`).
        service: The service's name.

    Raises:
        ProcessorError: There is none.
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
    # Last, so that a module of the user's project never takes the place of one that the simulator needs.
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
