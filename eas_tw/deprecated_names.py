"""Module attributes that have a new name, and keep the old one for one release."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def deprecated_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a module's `__getattr__` (PEP 562) that resolves old names with a `DeprecationWarning`.

    Args:
        module: The module's full name.
        names: Each old name with the new one in the same module; `other.module:name` for a name of another module.

    Returns:
        The `__getattr__`; unknown names raise `AttributeError`, as in any module.
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
