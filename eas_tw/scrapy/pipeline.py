"""`ScoringPipeline`, the item pipeline that scores items."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Self

from scrapy.exceptions import DropItem, NotConfigured
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.misc import build_from_crawler

from eas_tw import StatusError
from eas_tw.process_bound import ProcessBound
from eas_tw.scrapy.config import CrawlConfig
from eas_tw.scrapy.extension import ClientExtension
from eas_tw.scrapy.stats import ITEM_ERRORS, SCORED

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from eas_tw.scrapy.extension import CrawlClient

_REFUSALS = (401, 403)
_log = logging.getLogger("eas_tw.scrapy")


class ScoringPipeline(ProcessBound):
    """The item pipeline that sends items to the service, and lets the `Scorer` apply the responses."""

    def __init__(self, crawler: Crawler, config: CrawlConfig, client: CrawlClient) -> None:
        self._crawler = crawler
        self._item_error = config.item_error
        self._client = client
        scorer: Any = config.scorer  # not None, because the add-on enables this pipeline only with EAS_SCORER
        self._scorer: Any = build_from_crawler(scorer, crawler)
        self._key: Any = getattr(self._scorer, "key", None)
        self._is_refused = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Create the pipeline of a crawler; called by Scrapy.

        Raises:
            NotConfigured: The add-on is not enabled.
        """
        extension = crawler.get_extension(ClientExtension)
        if extension is None:
            raise NotConfigured("eas_tw.scrapy.Addon is not enabled")
        return cls(crawler, CrawlConfig.from_settings(crawler.settings), extension.client)

    # Scrapy 2.13 also passes the spider, which is not needed here.
    async def process_item(self, item: Any, *_: object) -> Any:
        """Score an item; called by Scrapy.

        Returns:
            1. The item that the scorer returns.
            2. The item unchanged, if the scorer does not accept it, or if it could not be scored and `EAS_ITEM_ERROR`
               is `keep`.

        Raises:
            DropItem: The scorer raised it, or the item could not be scored and `EAS_ITEM_ERROR` is `drop`.
            Exception: The item could not be scored, and `EAS_ITEM_ERROR` is `raise`.
        """
        if not self._scorer.accepts(item):
            return item
        try:
            request = _request(self._scorer.encode(item))
            key = None if self._key is None else self._key(item)
            response = await maybe_deferred_to_future(self._client.predict(request, key=key))
            scored = self._scorer.apply(item, response)
        except DropItem:
            raise
        except Exception as error:  # noqa: BLE001  EAS_ITEM_ERROR applies to any error, also of the scorer
            return self._not_scored(item, error)
        self._crawler.stats.inc_value(SCORED)
        return item if scored is None else scored

    def _not_scored(self, item: Any, error: Exception) -> Any:
        kind = type(error).__name__
        if isinstance(error, StatusError) and error.status in _REFUSALS and not self._is_refused:
            self._is_refused = True  # logged once, because every item of the crawl fails for this reason
            _log.error(
                "The service refuses EAS_TOKEN, which is missing or wrong: %s",
                error,
                extra={"spider": self._crawler.spider},
            )
        self._crawler.stats.inc_value(ITEM_ERRORS)
        self._crawler.stats.inc_value(f"{ITEM_ERRORS}/{kind}")
        if self._item_error == "raise":
            raise error
        if self._item_error == "drop":
            raise DropItem(f"not scored: {kind}: {error}") from error
        _log.warning("Not scored, and kept as it was: %s: %s", kind, error, extra={"spider": self._crawler.spider})
        return item


def _request(encoded: Any) -> Any:
    """Return requests, text and bytes unchanged, and encode any other value as JSON."""
    if isinstance(encoded, str | bytes | bytearray | memoryview) or hasattr(encoded, "to_string"):
        return encoded
    return json.dumps(encoded, ensure_ascii=False)
