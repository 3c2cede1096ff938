"""A Scrapy add-on that scores scraped items with a PAI-EAS service.

    ADDONS = {"eas_tw.scrapy.Addon": 500}
    EAS_ENDPOINT = "http://pai-eas-vpc.cn-shanghai.aliyuncs.com"
    EAS_SERVICE = "scorecard_pmml_example"
    EAS_SCORER = "myproject.scoring.MyScorer"

The client runs on Scrapy's reactor, which may be of any class. Spiders and other components get the client
with `get_client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from scrapy.exceptions import NotConfigured
except ImportError as error:
    raise ImportError("eas_tw.scrapy needs Scrapy: pip install 'eas-tw[scrapy]'") from error

from eas_tw.scrapy.addon import Addon
from eas_tw.scrapy.extension import ClientExtension, CrawlClient
from eas_tw.scrapy.pipeline import ScoringPipeline
from eas_tw.scrapy.scorer import Scorer

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

__all__ = ["Addon", "ClientExtension", "CrawlClient", "Scorer", "ScoringPipeline", "get_client"]


def get_client(crawler: Crawler) -> CrawlClient:
    """Return the client of a crawl, for spiders, middlewares and pipelines.

    When Scrapy iterates over the spider's `start`, the client already has a list of instances.

    Raises:
        NotConfigured: The add-on is not enabled, or its settings are missing.
    """
    extension = crawler.get_extension(ClientExtension)
    if extension is None:
        raise NotConfigured('eas_tw is not configured: set ADDONS = {"eas_tw.scrapy.Addon": 500} and EAS_ENDPOINT')
    client: CrawlClient = extension.client
    return client
