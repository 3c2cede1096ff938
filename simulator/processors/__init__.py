"""Processors, which compute the responses of an instance; `compute` runs one.

A processor is a callable that takes the request's body, or the value that a codec has decoded from the body, or a
`RequestProcessor`, which takes the whole request. It returns bytes, text, a `Response` or a value that the codec
encodes: immediately, later (`Later`), or as a Deferred or coroutine. A generator, an asynchronous generator or a
`StreamResponse` is sent piece by piece. An exception becomes a 400 with the exception's text.

Built-in processors run immediately. A user's ordinary function runs in its own thread, so that a blocking function
occupies only its worker.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred

from simulator.durations import Duration
from simulator.later import Later
from simulator.messages import Response
from simulator.processors import echoes
from simulator.processors.codecs import CODECS, PLAIN, Codec
from simulator.processors.compressed import Compressed, check, split
from simulator.processors.forward import Forward
from simulator.processors.llm import Llm
from simulator.processors.mnist import mnist
from simulator.processors.requests import ProcessorRequest, RequestProcessor, UserRequestProcessor, never_blocks
from simulator.processors.sleep import Sleep, sleep
from simulator.processors.tensors import Tensor
from simulator.processors.threads import in_thread
from simulator.processors.torch import torch
from simulator.streaming import StreamResponse, is_stream, map_pieces

SEARCH_PATH: list[str] = []
"""Folders that are searched for modules of users' processors, after all other entries of `sys.path`."""


class ProcessorError(ValueError):
    """Raised for a processor that cannot be loaded or run; the text has the reason."""


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
        """Call the function with the decoded body, and return its result."""
        return self.function(self.codec.decode(body))

    is_patient: bool = field(init=False)
    """Whether the function declares that it does not block (`never_blocks`)."""

    @is_patient.default
    def _look_at_function(self) -> bool:
        return never_blocks(self.function)


Processor = UserProcessor | RequestProcessor | Compressed | Forward | Callable[[bytes], Any]
__all__ = [
    "BUILT_IN", "CODECS", "PLAIN", "Codec", "Compressed", "Forward", "Later", "Llm", "Processor", "ProcessorError",
    "ProcessorRequest", "RequestProcessor", "Response", "Sleep", "StreamResponse", "Tensor", "UserProcessor", "compute",
    "echo", "find", "mnist", "sleep", "torch",
]  # fmt: skip


def _then(result: Any, encode: Callable[[Any], Any]) -> Any:
    if isinstance(result, Deferred):
        return result.addCallback(_then, encode)
    if inspect.iscoroutine(result):
        return Deferred.fromCoroutine(result).addCallback(_then, encode)
    if isinstance(result, Later):
        return Later(result.seconds, _then(result.value, encode))
    if is_stream(result):
        result = StreamResponse(result)
    if isinstance(result, StreamResponse):
        return evolve(result, body=map_pieces(result.body, lambda piece: _then(piece, encode)))
    return result if isinstance(result, Response) else encode(result)


def _compressed_answer(result: Any, outer: Compressed) -> Any:
    if isinstance(result, Deferred):
        return result.addCallback(_compressed_answer, outer)
    if isinstance(result, Later):
        return Later(result.seconds, _compressed_answer(result.value, outer))
    if isinstance(result, StreamResponse):
        return outer.write_stream(result)
    return outer.write_stream(StreamResponse(result)) if is_stream(result) else outer.write(result)


def compute(processor: Processor, body: bytes, reactor: Any, request: ProcessorRequest | None = None) -> Any:
    """Run a processor on a body, or on the whole request.

    Args:
        processor: The processor.
        body: Body of the request.
        reactor: Provides threads and timers.
        request: The whole request; `None` if the processor takes only the body.

    Returns:
        Bytes, text, a response, `Later`, an iterator of pieces, or a Deferred of one of them.
    """
    if isinstance(processor, Compressed):
        plain = processor.read(body)
        inner = compute(processor.inner, plain, reactor, request and evolve(request, body=plain))
        return _compressed_answer(_then(inner, _same), processor)
    if isinstance(processor, Forward):
        raise ProcessorError("forward cannot be combined with a compression")
    if isinstance(processor, RequestProcessor):
        if request is None:
            raise ProcessorError("this processor needs the whole request")
        return _then(processor.answer(request), _same)
    if not isinstance(processor, UserProcessor):
        return processor(body)
    begun = processor.begin(body) if processor.is_patient else in_thread(reactor, processor.begin, body)
    return _then(begun, processor.codec.encode)


def _same(value: Any) -> Any:
    return value


def echo(body: bytes) -> bytes:
    """Return the body."""
    return body


BUILT_IN: dict[str, Processor] = {
    "echo": echo,
    "mnist": mnist,
    "sleep": sleep,
    "torch": torch,
    "llm": Llm(),
    **echoes.ECHOES,
}


def find(name: str | Processor | Callable[[Any], Any], service: str) -> Processor:
    """Load the processor of a name.

    Args:
        name: One of the forms below, or a callable.
        service: Name of the service, which selects the processor when `name` is empty.

    The forms of a name:

    1. A key of `BUILT_IN`.
    2. `sleep:` and a duration; `llm:` and settings; `forward:` and a URL.
    3. `MODULE:CALLABLE`; `CODEC+MODULE:CALLABLE` for a callable that takes and returns decoded values;
       `request+MODULE:CALLABLE` for a callable that takes the whole request.
    4. Empty: `mnist` for a service whose name after `group/` starts with `mnist`; `echo` for every other service.
    5. `gzip+NAME` decompresses requests, `NAME+gzip` compresses responses (see `compressed.COMPRESSIONS`).

    Raises:
        ProcessorError: There is no such processor.
    """
    if isinstance(name, UserProcessor | RequestProcessor | Sleep | Compressed | Forward):
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
    "llm": Llm.parse,
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
            f"processor must be {', '.join(BUILT_IN)}, sleep:SECONDS, llm:SETTINGS, forward:URL or "
            f"[CODEC+]MODULE:CALLABLE, "
            f"got {name!r}"
        )
    if codec == "request":
        return UserRequestProcessor(_load(name, module, rest))
    if plus and codec not in CODECS:
        raise ProcessorError(f"processor {name}: codec must be one of {', '.join([*CODECS, 'request'])}, got {codec!r}")
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
    except (Exception, SystemExit) as error:  # the module may be a script
        raise ProcessorError(f"processor {name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ProcessorError(f"processor {name} is a {type(found).__name__}, not a callable")
    return found  # type: ignore[no-any-return]
