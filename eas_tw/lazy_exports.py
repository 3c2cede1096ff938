"""Names of a package that are imported when they are first asked for.

pytest loads our plug-in in every run of every project that has us installed, and Python imports a package before any
module in it: `import eas_tw` must not cost such a project Twisted and protobuf.
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
    """Make a package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: The package's full name.
        homes: Each exported name with the module it is taken from; `module:attribute` where it has another name there,
            `module:` for the module itself.
        deprecated: Old names, each with the exported name that it has now; to use one warns.

    Returns:
        1. `__getattr__`: imports an exported name, or a submodule, and keeps it in the package.
        2. `__dir__`: the exported names and what the package has already.
    """

    def load(name: str) -> Any:
        home = homes.get(name)
        if home is None and deprecated and name in deprecated:
            new = deprecated[name]
            warnings.warn(f"{package}.{name} is deprecated: use {package}.{new}", DeprecationWarning, stacklevel=2)
            return load(new)
        if home is None:
            # `import eas_tw; eas_tw.errors` works, as it does when a package imports its modules itself.
            if name.startswith("_") or find_spec(f"{package}.{name}") is None:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            return import_module(f"{package}.{name}")
        module, colon, attribute = home.partition(":")
        found = import_module(module)
        if attribute or not colon:
            found = getattr(found, attribute or name)
        # From now on an ordinary attribute: this function is not asked again.
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, names
