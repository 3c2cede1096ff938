"""A Scrapy project with one spider. As a program: `python crawl.py SETTINGS [async]`, with the settings as JSON.

The last line of output is JSON: the stats of Scrapy, the items, and the sockets and timers left in the reactor.
"""

import json
import sys

import scrapy
from scrapy import signals
from scrapy.crawler import CrawlerProcess

from eas_tw.scrapy import Scorer, get_client

PAGES, ITEMS_A_PAGE = 10, 10


class Score(Scorer):
    """Sends an item as JSON, and stores the response in it."""

    def accepts(self, item):
        return "pass" not in item

    def apply(self, item, response):
        item["score"] = json.loads(str(response))["number"]


class ScoreByTens(Score):
    """Gives the same key to every ten consecutive items."""

    def key(self, item):
        return f"ten {item['number'] // 10}"


class Numbers(scrapy.Spider):
    name = "numbers"

    async def start(self):
        for page in range(PAGES):
            yield scrapy.Request(f"data:,{page}", dont_filter=True)

    def parse(self, response):
        for number in range(ITEMS_A_PAGE):
            yield {"number": int(response.text) * ITEMS_A_PAGE + number}


class Reading(Numbers):
    """Makes a request whenever it is idle, and stays open, as spiders for message brokers do."""

    name = "reading"

    async def start(self):
        return
        yield

    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.idle, signals.spider_idle)
        return spider

    def idle(self):
        self.crawler.engine.crawl(scrapy.Request("data:,0", dont_filter=True))
        raise scrapy.exceptions.DontCloseSpider


class Asking(Numbers):
    """Calls the service from a callback."""

    name = "asking"

    async def parse(self, response):
        from scrapy.utils.defer import maybe_deferred_to_future

        answer = await maybe_deferred_to_future(get_client(self.crawler).predict(response.text))
        yield {"pass": str(answer)}


def main():
    settings = {
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_LEVEL": "INFO",
        **json.loads(sys.argv[1]),
    }
    spider = {"asking": Asking, "reading": Reading}.get(settings.pop("SPIDER", ""), Numbers)
    if "async" in sys.argv:
        from scrapy.crawler import AsyncCrawlerProcess

        process = AsyncCrawlerProcess(settings)
    else:
        process = CrawlerProcess(settings)
    crawler = process.create_crawler(spider)
    items = []
    crawler.signals.connect(lambda item: items.append(item), signals.item_scraped, weak=False)  # noqa: PLW0108  by name
    print("crawling", flush=True)
    process.crawl(crawler)
    process.start()
    told = {"stats": crawler._stats.get_stats() if hasattr(crawler, "_stats") else crawler.stats.get_stats()}
    if settings.get("TWISTED_REACTOR_ENABLED", True):
        from twisted.internet import reactor

        readers = set(reactor.getReaders()) - reactor._internalReaders
        told["left"] = [repr(thing) for thing in (*readers, *reactor.getWriters(), *reactor.getDelayedCalls())]
        told["reactor"] = type(reactor).__name__
        loop = getattr(reactor, "_asyncioEventloop", None)
        told["loop"] = f"{type(loop).__module__}.{type(loop).__name__}"
    told["items"] = items
    told["failed"] = process.bootstrap_failed
    print(json.dumps(told, default=str))


if __name__ == "__main__":
    main()
