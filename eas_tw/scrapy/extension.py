"""The crawl's one client: made with the crawler, closed when its spider is, its account in the crawl's stats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from scrapy import signals
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from eas_tw.process_bound import ProcessBound
from eas_tw.scrapy.config import CrawlConfig
from eas_tw.scrapy.limiter import ConcurrencyLimiter
from eas_tw.scrapy.stats import Latency, crawl_stats

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from eas_tw import ClientConfig, Instance, PredictClient
    from eas_tw.telemetry.counters import Counters

_LOOK_EVERY_S = 0.2


class CrawlClient(ProcessBound):
    """What `get_client` gives: a client whose calls share the crawl's limit of `EAS_CONCURRENT_REQUESTS`.

    Attributes:
        client: The `eas_tw.PredictClient` behind it, without that limit.
    """

    def __init__(self, client: PredictClient, limiter: ConcurrencyLimiter, latency: Latency) -> None:
        self.client = client
        self._limiter = limiter
        self._latency = latency

    def __repr__(self) -> str:
        return f"<CrawlClient {self.client!r}>"

    def predict(self, request: Any, *, timeout_s: float | None = None, **options: Any) -> Deferred[Any]:
        """Call the service when its turn has come; `await maybe_deferred_to_future(...)` of it in a coroutine.

        Args:
            request: As for `eas_tw.PredictClient.predict`, like all options.
            timeout_s: The call's one deadline in seconds; `None` for `EAS_TIMEOUT`. Waiting for the turn is not in it.
            options: `path`, `query`, `headers`.

        Returns:
            Fires with the response; fails as `PredictClient.predict` does, or with `CrawlStopped`.
        """

        def call() -> Deferred[Any]:
            limits = [limit for limit in (timeout_s, self._limiter.remaining_s) if limit is not None]
            began = self.client.clock.seconds()
            calling = self.client.predict(request, timeout_s=min(limits, default=None), **options)
            return calling.addCallback(self._measured, began)

        return Deferred.fromCoroutine(self._limiter.run(call))

    def _measured(self, response: Any, began: float) -> Any:
        self._latency.record(self.client.clock.seconds() - began)
        return response

    @property
    def is_ready(self) -> bool:
        """Whether calls have somewhere to go."""
        return self.client.is_ready

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list of instances in the cache."""
        return self.client.instances

    @property
    def counters(self) -> Counters:
        """What the client did so far."""
        return self.client.counters

    @property
    def config(self) -> ClientConfig:
        """The settings in force."""
        return self.client.config


class ClientExtension(ProcessBound):
    """Owns the client (Scrapy extension).

    Attributes:
        client: For everybody.
    """

    def __init__(self, crawler: Crawler, config: CrawlConfig) -> None:
        from twisted.internet import reactor  # noqa: PLC0415, TID251  Scrapy has installed it by now

        self._crawler = crawler
        self._config = config
        self._client = config.make_client(reactor)
        self._limiter = ConcurrencyLimiter(self._client.clock, config.concurrent_requests)
        self._latency = Latency()
        self.client = CrawlClient(self._client, self._limiter, self._latency)
        self._watch = LoopingCall(self._look)
        self._watch.clock = self._client.clock

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """For this crawler (Scrapy)."""
        extension = cls(crawler, CrawlConfig.from_settings(crawler.settings))
        crawler.signals.connect(extension.spider_closed, signals.spider_closed)
        return extension

    async def start(self) -> None:
        """Start discovery, and wait for the first list of instances.

        Raises:
            EasError: There is none.
        """
        await maybe_deferred_to_future(self._client.init())
        self._watch.start(_LOOK_EVERY_S, now=False)

    async def spider_closed(self) -> None:
        """Close the client, and tell the stats collector, which dumps the stats after this (Scrapy)."""
        if self._watch.running:
            self._watch.stop()
        account = crawl_stats(self._client, self._latency, self._limiter.peak)
        await maybe_deferred_to_future(self._client.close())
        for name, value in account.items():
            self._crawler.stats.set_value(name, value)

    def _look(self) -> None:
        """Notice that the crawl is being stopped: no signal tells, and Scrapy waits for items in the pipelines."""
        if not self._crawler.crawling:
            self._limiter.close_after(self._config.timeout_s)
            self._watch.stop()
