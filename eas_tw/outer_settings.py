"""Client settings from outside a program: from the command line and its profiles, or from Scrapy's settings.

`SETTINGS` defines the check and the default of each setting once, and `OuterSettings` creates a client from the values.
The command line and the Scrapy add-on define where each value is read from, and add their own settings. The token is
not in the table, because the command line and the add-on read it from different places, and because no error message
may contain it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

import eas_tw
from eas_tw import (
    ENDPOINT_TYPE_DEFAULT,
    ENDPOINT_TYPE_DIRECT,
    ENDPOINT_TYPE_VIPSERVER,
    ClientConfig,
    ConfigError,
    PredictClient,
)
from eas_tw.display import shown
from eas_tw.dotted_names import load_balancer

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[str, Any], Any]

ENDPOINT_TYPES = {
    "direct": ENDPOINT_TYPE_DIRECT,
    "gateway": ENDPOINT_TYPE_DEFAULT,
    "vipserver": ENDPOINT_TYPE_VIPSERVER,
}
"""The endpoint types, by their names on the command line and in Scrapy's settings."""


def one_of(*allowed: str) -> Read:
    """Return a function that checks that a value is in `allowed`, ignoring case, and returns it in lower case."""

    def read(name: str, value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in allowed:
            raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}")
        return value.lower()

    return read


def number(kind: type[int | float], *, at_least: float | None = None) -> Read:
    """Return a function that checks and converts a number, which may be text.

    Args:
        kind: `int` for whole numbers, or `float` for seconds.
        at_least: The minimum; `None` for numbers > 0.
    """

    def read(name: str, value: Any) -> Any:
        try:
            found = kind(value)
            is_good = not isinstance(value, bool) and (isinstance(value, str) or found == value)
            is_good = is_good and (found > 0 if at_least is None else found >= at_least) and found < float("inf")
        except (TypeError, ValueError, OverflowError):
            is_good = False
        if not is_good:
            unit = "" if kind is int or name.endswith("_s") else " of seconds"
            bound = "> 0" if at_least is None else f"≥ {at_least:g}"
            raise ConfigError(
                f"{name} must be a {'whole ' if kind is int else ''}number{unit} {bound}, got {shown(value)}"
            )
        return found

    return read


def text(name: str, value: Any) -> str:
    """Check that a value is text, and return it."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text, got {shown(value)}")
    return value


def _endpoint_type(name: str, value: Any) -> str:
    return ENDPOINT_TYPES[one_of(*ENDPOINT_TYPES)(name, value)]


@frozen
class Setting:
    """One setting.

    Attributes:
        read: A function that checks and converts a value. Its arguments are the setting's name for error messages and a
            value that is not empty; it raises `ConfigError` for a wrong value.
        default: The value that is passed to `read` if the setting is not set; `None` to skip `read`.
        is_number: Whether a profile may have a number as the value; if `False`, the value must be text.
    """

    read: Read
    default: Any = None
    is_number: bool = False


SETTINGS: dict[str, Setting] = {
    "endpoint": Setting(text),
    "endpoint_type": Setting(_endpoint_type, "direct"),
    "service": Setting(text),
    "timeout_s": Setting(number(float), 5.0, is_number=True),
    "retry_times": Setting(number(int, at_least=0), 2, is_number=True),
    "trust_roots": Setting(text),
    "balancer": Setting(load_balancer, "wrr"),
}
"""The settings by name; profiles and the attributes of `OuterSettings` have the same names."""

NEEDED = ("endpoint", "service")
"""The keys of the settings that must be set."""


def read_settings(find: Callable[[str], tuple[str, Any]]) -> dict[str, Any]:
    """Read and check all settings.

    Args:
        find: A function of a setting's key. It returns the setting's name for error messages, and its value, which is
            `None` or empty if the setting is not set.

    Returns:
        The arguments of `OuterSettings`, except the token.

    Raises:
        ConfigError: A setting is wrong; the message has its name, its value and the allowed values.
    """
    found = {}
    for key, setting in SETTINGS.items():
        name, value = find(key)
        given = setting.default if value in (None, "") else value
        found[key] = None if given is None else setting.read(name, given)
    return found


@frozen(kw_only=True)
class OuterSettings:
    """The settings of one client. The repr does not contain the token.

    Attributes:
        endpoint: The endpoint, as for `eas_tw.PredictClient`.
        endpoint_type: One of `eas_tw.config.ENDPOINT_TYPES`.
        service: The service's name.
        token: The service's token; empty for none.
        timeout_s: The deadline of a call, in seconds, > 0.
        retry_times: The maximum number of retries of a call, ≥ 0.
        trust_roots: The value for `ClientConfig.trust_roots`.
        balancer: The value for `ClientConfig.balancer`.
    """

    endpoint: str
    endpoint_type: str
    service: str
    token: str = field(repr=False)
    timeout_s: float
    retry_times: int
    trust_roots: str | None
    balancer: Any

    def config(self, **changes: Any) -> ClientConfig:
        """Return the settings as a `ClientConfig`; `changes` sets or overrides settings."""
        return ClientConfig(
            timeout_s=self.timeout_s,
            init_timeout_s=self.timeout_s,
            attempts=1 + self.retry_times,
            trust_roots=self.trust_roots,
            balancer=self.balancer,
        ).but(**changes)

    def make_client(self, reactor: Any, **changes: Any) -> PredictClient:
        """Create a client without calling `init`.

        Args:
            reactor: The Twisted reactor.
            changes: Further settings of `ClientConfig`.
        """
        return eas_tw.PredictClient(
            self.endpoint,
            self.service,
            token=self.token,
            endpoint_type=self.endpoint_type,
            reactor=reactor,
            config=self.config(**changes),
        )
