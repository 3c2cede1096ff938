"""What an instance computes: bytes in, bytes out.

A processor is a callable of the request's body. It may answer bytes, text, a Deferred or a coroutine of them; what it
raises is the caller's 400, with the exception's text.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from simulator.processors.mnist import mnist

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

Result = bytes | str
Processor = Callable[[bytes], "Result | Deferred[Result] | Coroutine[Any, Any, Result]"]


class ProcessorError(ValueError):
    """A processor that cannot be had; the text says why."""


def echo(body: bytes) -> bytes:
    """The body, back."""
    return body


BUILT_IN: dict[str, Processor] = {"echo": echo, "mnist": mnist}


def find(name: str, service: str) -> Processor:
    """The processor of that name.

    Args:
        name: `echo`, `mnist`, or `MODULE:CALLABLE`; empty for what suits the service: one whose name starts with
            `mnist` computes scores, every other one echoes.
        service: The service's name.
    """
    if not name:
        name = "mnist" if service.startswith("mnist") else "echo"
    if name in BUILT_IN:
        return BUILT_IN[name]
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise ProcessorError(f"processor must be {', '.join(BUILT_IN)} or MODULE:CALLABLE, got {name!r}")
    return _load(name, module, attribute)


def _load(name: str, module: str, attribute: str) -> Processor:
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ProcessorError(f"processor {name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ProcessorError(f"processor {name} is a {type(found).__name__}, not a callable")
    return found  # type: ignore[no-any-return]
