"""`CrawlConfig`, which reads and checks the `EAS_` settings of a crawl."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen
from scrapy.utils.misc import load_object
from twisted.internet.task import Clock

from eas_tw import ConfigError, PredictClient
from eas_tw.outer_settings import NEEDED, SETTINGS, OuterSettings, number, one_of, read_settings

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

_CRAWL_NAMES = {key: f"EAS_{key.upper()}".removesuffix("_S") for key in SETTINGS}
"""The name of the Scrapy setting for each setting that the command line has, too."""
_NEEDED = tuple(_CRAWL_NAMES[key] for key in NEEDED)
NAMES = (*_CRAWL_NAMES.values(), "EAS_TOKEN", "EAS_CONCURRENT_REQUESTS", "EAS_ITEM_ERROR", "EAS_SCORER")
_ALIKE = 0.85
"""The minimum similarity (`difflib`, 0–1) at which an unknown `EAS_` name is reported as a misspelt setting.

Less similar names are accepted, because a project may have other settings with this prefix.
"""
_concurrency = number(int, at_least=1)
_item_error = one_of("drop", "keep", "raise")
_SCORER_METHODS = ("accepts", "encode", "apply")


@frozen(kw_only=True)
class CrawlConfig(OuterSettings):
    """The settings of a crawl.

    Attributes:
        concurrent_requests: The maximum number of calls in flight, ≥ 1.
        item_error: The action for an item that cannot be scored: drop it, keep it unchanged, or raise the error.
        scorer: The scorer's class; `None` for no scoring.
    """

    concurrent_requests: int
    item_error: Literal["drop", "keep", "raise"]
    scorer: type | None

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
        shared = read_settings(lambda key: (_CRAWL_NAMES[key], settings.get(_CRAWL_NAMES[key])))
        config = cls(
            **shared,
            token=_token(settings),
            concurrent_requests=_concurrency("EAS_CONCURRENT_REQUESTS", settings.get("EAS_CONCURRENT_REQUESTS", 16)),
            item_error=_item_error("EAS_ITEM_ERROR", settings.get("EAS_ITEM_ERROR") or "drop"),
            scorer=_scorer(settings),
        )
        try:
            config.make_client(Clock())
        except ConfigError as error:
            raise ConfigError(f"EAS_ENDPOINT, EAS_SERVICE or EAS_TOKEN: {error}") from None
        return config

    def make_client(self, reactor: Any, **changes: Any) -> PredictClient:
        """Create the crawl's client without calling `init`.

        Args:
            reactor: The Twisted reactor.
            changes: Further settings of `ClientConfig`.
        """
        # Scrapy closes the spider after the pipelines have finished, so their calls have ended. A call that another
        # component started must not delay the end of the crawl.
        ours = {"init_timeout_s": max(self.timeout_s, 5.0), "drain_timeout_s": 0.0}
        return OuterSettings.make_client(self, reactor, **{**ours, **changes})


def _check_spelling(settings: BaseSettings) -> None:
    """Raise `ConfigError` for a misspelt setting, which Scrapy would ignore, so that the default would apply.

    A name is accepted if the setting that it resembles is also set.
    """
    for name in settings:
        if isinstance(name, str) and name.startswith("EAS_") and name not in NAMES:
            meant = get_close_matches(name, NAMES, n=1, cutoff=_ALIKE)
            if meant and not settings.get(meant[0]):
                raise ConfigError(f"{name} is not a setting; did you mean {meant[0]}?")


def _token(settings: BaseSettings) -> str:
    """Return the token; the error for a wrong token contains its type, but not its value."""
    value = settings.get("EAS_TOKEN") or ""
    if not isinstance(value, str):
        raise ConfigError(f"EAS_TOKEN must be a string, got {type(value).__name__}")
    return value


def _scorer(settings: BaseSettings) -> type | None:
    given = settings.get("EAS_SCORER")
    if not given:
        return None
    try:
        found: Any = load_object(given)
    except (Exception, SystemExit) as error:  # importing the project's module, which may be a script, can raise any
        raise ConfigError(f"EAS_SCORER {given!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise ConfigError(f"EAS_SCORER must be a class, or the import path of one, got {given!r}")
    missing = [name for name in _SCORER_METHODS if not callable(getattr(found, name, None))]
    missing += sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise ConfigError(f"EAS_SCORER {found.__name__} lacks {' and '.join(missing)}")
    return found
