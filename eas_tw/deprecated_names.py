"""Deprecated aliases of module attributes, kept for one release after a rename."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def deprecated_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Create a module's `__getattr__` (PEP 562) that resolves old names with a `DeprecationWarning`.

    Args:
        module: The module's full name.
        names: A mapping of old names to new names in the same module, or to `other.module:name`.

    Returns:
        The `__getattr__` function. It raises `AttributeError` for an unknown name.
    """

    def load(name: str) -> Any:
        new = names.get(name)
        if new is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, colon, attribute = new.partition(":")
        if not colon:
            home, attribute = module, new
        warnings.warn(f"{module}.{name} is deprecated: use {home}.{attribute}", DeprecationWarning, stacklevel=2)
        return getattr(sys.modules.get(home) or import_module(home), attribute)

    return load
