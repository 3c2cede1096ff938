"""A replacement for the global reactor that raises when it is used, because that reactor runs in real time."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import twisted.internet

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTRIBUTE = "reactor"
_NAME = f"twisted.internet.{_ATTRIBUTE}"


class GlobalReactorUsedError(RuntimeError):
    """The global reactor was used inside a simulation."""


class ReactorGuard:
    """Raises for every use of the global reactor."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise GlobalReactorUsedError(f"the global reactor was asked for {name} inside the virtual world")


@contextmanager
def armed() -> Iterator[None]:
    """Make the global reactor unusable inside this block."""
    before = sys.modules.get(_NAME)
    package: Any = twisted.internet
    attribute = getattr(package, _ATTRIBUTE, None)
    wire: Any = ReactorGuard()
    sys.modules[_NAME] = wire
    setattr(package, _ATTRIBUTE, wire)
    try:
        yield
    finally:
        if before is None:
            del sys.modules[_NAME]
        else:
            sys.modules[_NAME] = before
        if attribute is None:
            delattr(package, _ATTRIBUTE)
        else:
            setattr(package, _ATTRIBUTE, attribute)
