"""Checks of the transports' own settings."""

from __future__ import annotations

from eas_tw import ConfigError


def check_authorization(token: str, *, keep_authorization: bool) -> None:
    """Raise `ConfigError` if both the service's token and the program's `Authorization` are to be sent."""
    if keep_authorization and token:
        raise ConfigError(
            "keep_authorization sends the Authorization of the program instead of the service's token: leave out "
            "token, or leave out keep_authorization"
        )
