"""The middlewares that delay the spider's start until the client is ready, and stop a crawl without a client.

If the settings are wrong or `init` fails, the crawl is refused: it makes no request, and its spider is closed.
"""

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
    """Mark a crawl as refused, so that the middlewares stop all its requests and close its spider.

    Args:
        crawler: The crawler.
        reason: The close reason of the spider.
    """
    _refused[crawler] = reason


class StartGate:
    """The spider middleware that delays the spider's start until the client is ready."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Create the middleware of a crawler; called by Scrapy."""
        gate = cls(crawler)
        crawler.signals.connect(gate.spider_idle, signals.spider_idle)
        crawler.signals.connect(gate.engine_stopped, signals.engine_stopped)
        return gate

    async def process_start(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Wait for the client, then yield the spider's start requests; yield none if the crawl is refused."""
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
        """Close the spider if the crawl is refused; called by Scrapy.

        Raises:
            CloseSpider: The crawl is refused; the exception has the reason.
        """
        reason = _refused.get(self._crawler)
        if reason is None:
            return
        # CloseSpider alone is not enough: a component that keeps idle spiders open, such as a queue reader, raises
        # DontCloseSpider, which takes precedence.
        if is_reactor_installed():
            from twisted.internet import reactor  # noqa: PLC0415, TID251  Scrapy has installed the reactor

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
        """Make `scrapy crawl` exit with 1 if the crawl is refused; called by Scrapy.

        Scrapy has no direct way to report a failed crawl, but `scrapy crawl` exits with 1 if its crawler has no spider.
        """
        if self._crawler in _refused:
            self._crawler.spider = None


class RequestGate:
    """The downloader middleware that stops all requests of a refused crawl, including those of other components."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Create the middleware of a crawler; called by Scrapy."""
        return cls(crawler)

    # Scrapy 2.13 also passes the spider, which is not needed here.
    def process_request(self, request: Any, *_: object, **__: object) -> None:
        """Stop the request if the crawl is refused; called by Scrapy.

        Raises:
            IgnoreRequest: The crawl is refused.
        """
        if self._crawler in _refused:
            raise IgnoreRequest(f"the crawl is refused, so this request is not sent: {request}")
