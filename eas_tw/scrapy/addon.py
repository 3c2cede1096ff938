"""The add-on: looks at the settings once, and puts the components in their places, or lets nothing be crawled.

An item that passes unscored is lost data, so a mistake ends the crawl before its first request, with one line that says
what it was.
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

# Outermost among the spider middlewares: what it withholds, no other can add to.
_OUTERMOST = -1_000_000
_USUAL = 500


class Addon:
    """Enables the client, its start gate and, with `EAS_SCORER`, the scoring pipeline.

    Places in `EXTENSIONS`, `SPIDER_MIDDLEWARES` and `ITEM_PIPELINES` that the project has set are left as they are.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Addon:
        """For this crawler (Scrapy)."""
        return cls(crawler)

    def update_settings(self, settings: BaseSettings) -> None:
        """Configure the crawl (Scrapy).

        Raises:
            NotConfigured: No EAS_ setting is there at all.
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
