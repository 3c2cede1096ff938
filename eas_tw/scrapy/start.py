"""The gate before a crawl's first request: nothing is asked for until the client is ready, or ever if it cannot be."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from scrapy import signals
from scrapy.exceptions import CloseSpider, IgnoreRequest
from scrapy.utils.defer import deferred_from_coro
from scrapy.utils.reactor import is_reactor_installed

from eas_tw import EasError
from eas_tw.scrapy.extension import ClientExtension

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scrapy.crawler import Crawler

_log = logging.getLogger("eas_tw.scrapy")

CONFIG_REASON = "eas_misconfigured"
DISCOVERY_REASON = "eas_not_ready"

_refused: WeakKeyDictionary[Crawler, str] = WeakKeyDictionary()


def refuse(crawler: Crawler, reason: str) -> None:
    """Let this crawler ask for nothing, and close its spider with this reason."""
    _refused[crawler] = reason


class StartGate:
    """Holds a spider's start until the client is ready (Scrapy spider middleware)."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """For this crawler (Scrapy)."""
        gate = cls(crawler)
        crawler.signals.connect(gate.spider_idle, signals.spider_idle)
        crawler.signals.connect(gate.engine_stopped, signals.engine_stopped)
        return gate

    async def process_start(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The spider's start, or nothing (Scrapy)."""
        if self._crawler not in _refused:
            await self._prepare()
        if self._crawler in _refused:
            return
        async for item_or_request in start:
            yield item_or_request

    async def _prepare(self) -> None:
        extension = self._crawler.get_extension(ClientExtension)
        try:
            if extension is not None:
                await extension.start()
        except EasError as error:
            _log.error("%s; nothing is crawled, since its items would pass unscored", error)
            refuse(self._crawler, DISCOVERY_REASON)

    def spider_idle(self) -> None:
        """Close a spider that was refused (Scrapy).

        Raises:
            CloseSpider: With the reason.
        """
        reason = _refused.get(self._crawler)
        if reason is None:
            return
        # A component that keeps idle spiders open, such as one that reads a queue, outvotes CloseSpider.
        if is_reactor_installed():
            from twisted.internet import reactor  # noqa: PLC0415, TID251  Scrapy has installed it

            reactor.callLater(0, self._insist, reason)
        else:
            asyncio.get_running_loop().call_soon(self._insist, reason)
        raise CloseSpider(reason)

    def _insist(self, reason: str) -> None:
        engine = self._crawler.engine
        if engine.spider is None:
            return
        if hasattr(engine, "close_spider_async"):
            deferred_from_coro(engine.close_spider_async(reason=reason))
        else:  # Scrapy 2.13
            engine.close_spider(engine.spider, reason)

    def engine_stopped(self) -> None:
        """After everything: a crawl that was refused has failed (Scrapy).

        `scrapy crawl` exits with 1 if a crawler has no spider, and there is no other way to tell it.
        """
        if self._crawler in _refused:
            self._crawler.spider = None


class RequestGate:
    """Lets no request of a refused crawl out, whoever made it (Scrapy downloader middleware)."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """For this crawler (Scrapy)."""
        return cls(crawler)

    # Scrapy 2.13 passes the spider, too, whether it is wanted or not.
    def process_request(self, request: Any, *_: object, **__: object) -> None:
        """Let a request pass, or not (Scrapy).

        Raises:
            IgnoreRequest: The crawl was refused.
        """
        if self._crawler in _refused:
            raise IgnoreRequest(f"nothing is crawled: {request}")
