"""The Scrapy extension that owns the crawl's client, and writes its counters to the stats when the spider closes."""

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
"""The interval, in seconds, at which the extension checks whether the crawl is being stopped."""


class CrawlClient(ProcessBound):
    """The client that `get_client` returns; its calls share the crawl's limit of `EAS_CONCURRENT_REQUESTS`.

    Attributes:
        client: The inner `eas_tw.PredictClient`, whose calls are not limited.
    """

    def __init__(self, client: PredictClient, limiter: ConcurrencyLimiter, latency: Latency) -> None:
        self.client = client
        self._limiter = limiter
        self._latency = latency

    def __repr__(self) -> str:
        return f"<CrawlClient {self.client!r}>"

    def predict(self, request: Any, *, timeout_s: float | None = None, **options: Any) -> Deferred[Any]:
        """Call the service as soon as the limit of concurrent calls allows it.

        In a coroutine, use `await maybe_deferred_to_future(client.predict(...))`.

        Args:
            request: A request, as for `eas_tw.PredictClient.predict`.
            timeout_s: The deadline of the call in seconds, > 0; `None` for `EAS_TIMEOUT`. The time starts when the call
                is sent; the wait for the limit is not included.
            options: The other options of `eas_tw.PredictClient.predict`, such as `path`, `headers` and `key`.

        Returns:
            A Deferred that fires with the response. It fails with the errors of `PredictClient.predict`, and with
            `CrawlStopped` if the crawl was stopped before the call began.
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
        """Whether the client has instances, or a gateway, to send calls to."""
        return self.client.is_ready

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The cached list of instances."""
        return self.client.instances

    @property
    def counters(self) -> Counters:
        """The client's counters."""
        return self.client.counters

    @property
    def config(self) -> ClientConfig:
        """The client's settings."""
        return self.client.config


class ClientExtension(ProcessBound):
    """The Scrapy extension that owns the crawl's client.

    Attributes:
        client: The client that `get_client` returns.
    """

    def __init__(self, crawler: Crawler, config: CrawlConfig) -> None:
        from twisted.internet import reactor  # noqa: PLC0415, TID251  Scrapy installs the reactor before extensions

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
        """Create the extension of a crawler; called by Scrapy."""
        extension = cls(crawler, CrawlConfig.from_settings(crawler.settings))
        crawler.signals.connect(extension.spider_closed, signals.spider_closed)
        return extension

    async def start(self) -> None:
        """Start discovery, and wait for the first list of instances.

        Raises:
            EasError: `init` failed.
        """
        await maybe_deferred_to_future(self._client.init())
        self._watch.start(_LOOK_EVERY_S, now=False)

    async def spider_closed(self) -> None:
        """Close the client, and write its counters to the stats, which Scrapy logs afterwards."""
        if self._watch.running:
            self._watch.stop()
        account = crawl_stats(self._client, self._latency, self._limiter.peak)
        await maybe_deferred_to_future(self._client.close())
        for name, value in account.items():
            self._crawler.stats.set_value(name, value)

    def _look(self) -> None:
        """If the crawl is being stopped, make the limiter reject calls that would start more than `EAS_TIMEOUT` later.

        Scrapy has no signal for the beginning of a stop, and waits for the items in the pipelines.
        """
        if not self._crawler.crawling:
            self._limiter.close_after(self._config.timeout_s)
            self._watch.stop()
