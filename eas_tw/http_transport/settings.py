"""Checks of the transports' arguments that are not arguments of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError
from eas_tw.display import shown
from eas_tw.ranges import COUNT, checked

if TYPE_CHECKING:
    from eas_tw.secret import TokenSource


def check_authorization(token: TokenSource, *, keep_authorization: bool) -> None:
    """Raise `ConfigError` if `keep_authorization` is set together with a token: a request has one `Authorization`."""
    if keep_authorization and token:
        raise ConfigError(
            "keep_authorization sends the Authorization of the program instead of the service's token: leave out "
            "token, or leave out keep_authorization"
        )


def checked_size(max_request_bytes: Any) -> int:
    """Return the maximum size of a request's body; raise `ConfigError` if it is not a whole number ≥ 1."""
    size: int = checked(COUNT, "max_request_bytes", max_request_bytes)
    return size


def checked_key_function(key: Any) -> Any:
    """Return the function that returns a request's key, or `None`; raise `ConfigError` if it is not callable."""
    if key is not None and not callable(key):
        raise ConfigError(
            f"key must be a function of the request that returns its key, got {shown(key)}; "
            "a constant key goes into the header X-Eas-Key"
        )
    return key
