"""`CrawlConfig`, which reads and checks the `EAS_` settings of a crawl."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from scrapy.utils.misc import load_object
from twisted.internet.task import Clock

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

    from scrapy.settings import BaseSettings

_NEEDED = ("EAS_ENDPOINT", "EAS_SERVICE")
NAMES = (
    *_NEEDED, "EAS_ENDPOINT_TYPE", "EAS_TOKEN", "EAS_CONCURRENT_REQUESTS", "EAS_TIMEOUT", "EAS_RETRY_TIMES",
    "EAS_ITEM_ERROR", "EAS_SCORER", "EAS_BALANCER",
)  # fmt: skip
_ALIKE = 0.85
"""The similarity (`difflib`, 0–1) from which an unknown `EAS_` name is reported as a misspelt setting.

Less similar names are accepted, because a project may have other settings with this prefix.
"""
_ENDPOINT_TYPES = {
    "direct": ENDPOINT_TYPE_DIRECT,
    "gateway": ENDPOINT_TYPE_DEFAULT,
    "vipserver": ENDPOINT_TYPE_VIPSERVER,
}
_ITEM_ERRORS = ("drop", "keep", "raise")
_SCORER_METHODS = ("accepts", "encode", "apply")


@frozen
class CrawlConfig:
    """The settings of a crawl.

    Attributes:
        endpoint: The endpoint, as for `eas_tw.PredictClient`.
        endpoint_type: One of `eas_tw.config.ENDPOINT_TYPES`.
        service: The service's name.
        token: The service's token; empty for none.
        concurrent_requests: The maximum number of calls in flight, ≥ 1.
        timeout_s: The deadline of a call, in seconds, > 0.
        retry_times: The maximum number of retries of a call, ≥ 0.
        item_error: The treatment of an item that cannot be scored.
        scorer: The scorer's class; `None` for no scoring.
        balancer: As `ClientConfig.balancer`.
    """

    endpoint: str
    endpoint_type: str
    service: str
    token: str = field(repr=False)
    concurrent_requests: int
    timeout_s: float
    retry_times: int
    item_error: Literal["drop", "keep", "raise"]
    scorer: type | None
    balancer: Any

    @staticmethod
    def is_wanted(settings: BaseSettings) -> bool:
        """Return whether `EAS_ENDPOINT`, `EAS_SERVICE` or `EAS_SCORER` is set."""
        return any(settings.get(name) for name in (*_NEEDED, "EAS_SCORER"))

    @classmethod
    def from_settings(cls, settings: BaseSettings) -> CrawlConfig:
        """Read and check the settings of a crawl.

        Raises:
            ConfigError: A setting is missing or wrong; the message has its name, its value and the allowed values.
        """
        if not settings.getbool("TWISTED_REACTOR_ENABLED", default=True):
            raise ConfigError(
                "eas_tw.scrapy needs Scrapy's Twisted reactor: do not set TWISTED_REACTOR_ENABLED = False"
            )
        _check_spelling(settings)
        for name in _NEEDED:
            if not settings.get(name):
                raise ConfigError(f"{name} is not set")
        config = cls(
            endpoint=_text(settings, "EAS_ENDPOINT"),
            endpoint_type=_ENDPOINT_TYPES[_one_of(settings, "EAS_ENDPOINT_TYPE", tuple(_ENDPOINT_TYPES))],
            service=_text(settings, "EAS_SERVICE"),
            token=_text(settings, "EAS_TOKEN"),
            concurrent_requests=_number(settings, "EAS_CONCURRENT_REQUESTS", 16, int, at_least=1),
            timeout_s=_number(settings, "EAS_TIMEOUT", 5.0, float, above=0),
            retry_times=_number(settings, "EAS_RETRY_TIMES", 2, int, at_least=0),
            item_error=_one_of(settings, "EAS_ITEM_ERROR", _ITEM_ERRORS),
            scorer=_scorer(settings),
            balancer=load_balancer("EAS_BALANCER", settings.get("EAS_BALANCER") or "wrr"),
        )
        try:
            config.make_client(Clock())
        except ConfigError as error:
            raise ConfigError(f"EAS_ENDPOINT, EAS_SERVICE or EAS_TOKEN: {error}") from None
        return config

    def make_client(self, reactor: Any) -> PredictClient:
        """Create the crawl's client without calling `init`."""
        return eas_tw.PredictClient(
            self.endpoint,
            self.service,
            token=self.token,
            endpoint_type=self.endpoint_type,
            reactor=reactor,
            config=ClientConfig(
                timeout_s=self.timeout_s,
                attempts=1 + self.retry_times,
                balancer=self.balancer,
                init_timeout_s=max(self.timeout_s, 5.0),
                # Scrapy waits for the pipelines before it closes the spider, so their calls have ended. A call that
                # another component started must not delay the end of the crawl.
                drain_timeout_s=0.0,
            ),
        )


def _check_spelling(settings: BaseSettings) -> None:
    """Raise `ConfigError` for a misspelt setting, which would be ignored, so that its default would be used silently.

    A name is accepted if the setting that it resembles is set, too.
    """
    for name in settings:
        if isinstance(name, str) and name.startswith("EAS_") and name not in NAMES:
            meant = get_close_matches(name, NAMES, n=1, cutoff=_ALIKE)
            if meant and not settings.get(meant[0]):
                raise ConfigError(f"{name} is not a setting; did you mean {meant[0]}?")


def _text(settings: BaseSettings, name: str) -> str:
    value = settings.get(name) or ""
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a string, got {type(value).__name__}")
    return value


def _one_of(settings: BaseSettings, name: str, allowed: tuple[str, ...]) -> Any:
    value = settings.get(name) or allowed[0]
    if not isinstance(value, str) or value.lower() not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}")
    return value.lower()


def _number(
    settings: BaseSettings,
    name: str,
    default: float,
    kind: Callable[[Any], Any],
    *,
    at_least: float = float("-inf"),
    above: float = float("-inf"),
) -> Any:
    given = settings.get(name, default)
    bound = f"> {above:g}" if above == 0 else f"≥ {at_least:g}"
    try:
        value = kind(given)
        good = not isinstance(given, bool) and at_least <= value < float("inf") and value > above
        good = good and (isinstance(given, str) or value == given)
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        noun = "a whole number" if kind is int else "a number of seconds"
        raise ConfigError(f"{name} must be {noun} {bound}, got {shown(given)}")
    return value


def _scorer(settings: BaseSettings) -> type | None:
    given = settings.get("EAS_SCORER")
    if not given:
        return None
    try:
        found: Any = load_object(given)
    except Exception as error:  # importing the project's module can raise any exception
        raise ConfigError(f"EAS_SCORER {given!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise ConfigError(f"EAS_SCORER must be a class, or the import path of one, got {given!r}")
    missing = [name for name in _SCORER_METHODS if not callable(getattr(found, name, None))]
    missing += sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise ConfigError(f"EAS_SCORER {found.__name__} lacks {' and '.join(missing)}")
    return found
