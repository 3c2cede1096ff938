"""Replaces methods by functions that raise an exception, for tests of boundaries."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Trap:
    """Replaces a method. The first call after `arm` raises, before or after the original method has run."""

    def __init__(self, patch: pytest.MonkeyPatch, path: str) -> None:
        module, owner, name = path.rsplit(".", 2)
        self.method = getattr(getattr(import_module(module), owner), name)
        self.sprung = False
        self.error: BaseException | None = None
        self.is_after = False
        trap = self

        def trapped(*args: Any, **options: Any) -> Any:
            error, trap.error = trap.error, None
            if error is None:
                return trap.method(*args, **options)
            trap.sprung = True
            if trap.is_after:
                trap.method(*args, **options)
            raise error

        patch.setattr(getattr(import_module(module), owner), name, trapped)

    def arm(self, error: BaseException, *, is_after: bool) -> None:
        self.error, self.is_after = error, is_after


def thrower(error: BaseException) -> Callable[..., Any]:
    def throw(*_: Any) -> Any:
        raise error

    return throw
