"""A spider that calls the service itself.

EAS_TOKEN=… scrapy crawl asking
"""

import scrapy
from scrapy.utils.defer import maybe_deferred_to_future

from eas_tw.scrapy import get_client


class Asking(scrapy.Spider):
    """Yields the service's responses."""

    name = "asking"

    async def start(self):
        yield scrapy.Request("data:,[4000]")

    async def parse(self, response):
        answer = await maybe_deferred_to_future(
            get_client(self.crawler).predict(response.text)
        )
        yield {"answer": str(answer)}
