"""Exports of a package that are imported on first use (PEP 562).

pytest loads the plug-in `eas_tw.testing.pytest_plugin` in every test run where eas_tw is installed, and Python imports
`eas_tw` first. Lazy exports keep that import from loading Twisted and protobuf.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_exports(
    package: str, homes: Mapping[str, str], deprecated: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Create a package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: The package's full name.
        homes: A mapping of exported names to their modules; the value is `module:attribute` if the name differs in the
            module, and `module:` for the module itself.
        deprecated: A mapping of old names to exported names, whose use gives a `DeprecationWarning`; `None` for none.

    Returns:
        A tuple of two functions:

        1. `__getattr__`, which imports an exported name or a submodule and stores it in the package;
        2. `__dir__`, which returns the exported names and the existing attributes.
    """

    def load(name: str) -> Any:
        home = homes.get(name)
        if home is None and deprecated and name in deprecated:
            new = deprecated[name]
            warnings.warn(f"{package}.{name} is deprecated: use {package}.{new}", DeprecationWarning, stacklevel=2)
            return load(new)
        if home is None:
            # A submodule: `import eas_tw; eas_tw.errors` works, as in a package that imports its modules eagerly.
            if name.startswith("_") or find_spec(f"{package}.{name}") is None:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            return import_module(f"{package}.{name}")
        module, colon, attribute = home.partition(":")
        found = import_module(module)
        if attribute or not colon:
            found = getattr(found, attribute or name)
        # Stored as an ordinary attribute, so that Python does not call this function again for the name.
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, names
