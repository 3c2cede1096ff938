"""The Scrapy add-on, which checks the settings and enables the components.

A wrong setting ends the crawl before its first request, with one log line. Otherwise all items of the crawl would pass
without a score.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scrapy.exceptions import NotConfigured

from eas_tw import ConfigError
from eas_tw.scrapy.config import CrawlConfig
from eas_tw.scrapy.extension import ClientExtension
from eas_tw.scrapy.pipeline import ScoringPipeline
from eas_tw.scrapy.start import CONFIG_REASON, RequestGate, StartGate, refuse

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

_log = logging.getLogger("eas_tw.scrapy")

# The middlewares of `start` must be nearest to the engine, so that no other middleware adds requests after them.
_OUTERMOST = -1_000_000
_USUAL = 500  # the middle of the range 0 to 1000 that Scrapy's documentation recommends


class Addon:
    """Enables the client, the middlewares of `start` and, if `EAS_SCORER` is set, the scoring pipeline.

    A priority that the project has set for one of these components is not changed.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Addon:
        """Create the add-on of a crawler; called by Scrapy."""
        return cls(crawler)

    def update_settings(self, settings: BaseSettings) -> None:
        """Check the settings, and enable the components; called by Scrapy.

        Raises:
            NotConfigured: None of `EAS_ENDPOINT`, `EAS_SERVICE` and `EAS_SCORER` is set.
        """
        if not CrawlConfig.is_wanted(settings):
            raise NotConfigured("EAS_ENDPOINT is not set")
        settings.setdefault_in_component_priority_dict("SPIDER_MIDDLEWARES", StartGate, _OUTERMOST)
        settings.setdefault_in_component_priority_dict("DOWNLOADER_MIDDLEWARES", RequestGate, _OUTERMOST)
        try:
            config = CrawlConfig.from_settings(settings)
        except ConfigError as mistake:
            _log.error("%s; nothing is crawled, since its items would pass unscored", mistake)
            refuse(self._crawler, CONFIG_REASON)
            return
        settings.setdefault_in_component_priority_dict("EXTENSIONS", ClientExtension, _USUAL)
        if config.scorer is not None:
            settings.setdefault_in_component_priority_dict("ITEM_PIPELINES", ScoringPipeline, _USUAL)
