"""Import of functions by dotted name; unlike a function, a name can be pickled and passed on a command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eas_tw import ClientConfig, ConfigError
from eas_tw.display import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[..., Any] | str


def check_function(what: str, given: Any) -> None:
    """Check that a value is a function, or has the form of a dotted name; nothing is imported.

    Args:
        what: The setting's name, for the error message.
        given: The value; `None` is allowed.

    Raises:
        ConfigError: The value is neither a function nor a dotted name.
    """
    if given is None or (callable(given) and not isinstance(given, str)):
        return
    parts = given.replace(":", ".").split(".") if isinstance(given, str) and given.count(":") <= 1 else []
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):  # noqa: PLR2004  a module and a name
        raise ConfigError(f'{what} must be a function, or a name such as "package.module:function", got {shown(given)}')


def load_function(what: str, given: Function) -> Callable[..., Any]:
    """Return a function, and import it if it is given by name.

    Args:
        what: The setting's name, for the error message.
        given: The function, or its name: `package.module:function` or `package.module.function`.

    Raises:
        ConfigError: There is no such module or function, or the module cannot be imported.
    """
    check_function(what, given)
    if not isinstance(given, str):
        return given
    module, colon, name = given.partition(":")
    if not colon:
        module, _, name = given.rpartition(".")
    try:
        found: Any = import_module(module)
    except (Exception, SystemExit) as error:  # importing the user's module, which may be a script, can raise any
        raise ConfigError(f"{what} {given!r} cannot be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigError(f"{what} {given!r}: the module {module} has no function {name}")
    return found  # type: ignore[no-any-return]  # checked to be callable


def load_balancer(what: str, given: Any) -> Any:
    """Return the value for `ClientConfig.balancer`, and import it if it is given by dotted name.

    Args:
        what: The setting's name, for the error message.
        given: The name of a built-in balancer such as `hash`, the dotted name of a class or function, or a class or
            function.

    Raises:
        ConfigError: `given` is none of these, or cannot be imported.
    """
    is_dotted = isinstance(given, str) and ("." in given or ":" in given)
    balancer = load_function(what, given) if is_dotted else given
    try:
        ClientConfig(balancer=balancer)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None
    return balancer
