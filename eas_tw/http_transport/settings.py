"""Checks of the transports' own settings."""

from __future__ import annotations

from typing import Any

from eas_tw import ConfigError
from eas_tw.display import shown
from eas_tw.ranges import COUNT, checked


def check_authorization(token: str, *, keep_authorization: bool) -> None:
    """Raise `ConfigError` if both the service's token and the program's `Authorization` are to be sent."""
    if keep_authorization and token:
        raise ConfigError(
            "keep_authorization sends the Authorization of the program instead of the service's token: leave out "
            "token, or leave out keep_authorization"
        )


def checked_size(max_request_bytes: Any) -> int:
    """Return the maximum size of a request's body, or raise `ConfigError` unless it is a whole number, ≥ 1."""
    size: int = checked(COUNT, "max_request_bytes", max_request_bytes)
    return size


def checked_key_function(key: Any) -> Any:
    """Return the function that gives requests their keys, or raise `ConfigError` unless it can be called."""
    if key is not None and not callable(key):
        raise ConfigError(
            f"key must be a function of the request that returns its key, got {shown(key)}; "
            "a constant key goes into the header X-Eas-Key"
        )
    return key
