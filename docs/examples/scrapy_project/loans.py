"""A crawl whose items are scored in the item pipelines.

EAS_ENDPOINT=… EAS_TOKEN=… python loans.py

Or, with settings.py: EAS_TOKEN=… scrapy crawl loans
"""

import json
import os

import scrapy
from scrapy.crawler import CrawlerProcess

from eas_tw.scrapy import Scorer


class LoanScorer(Scorer):
    """Makes the request of an item, and stores the score in the item."""

    def accepts(self, item):
        return "money_credit" in item

    def encode(self, item):
        return [{"money_credit": item["money_credit"]}]

    def apply(self, item, response):
        item["score"] = json.loads(str(response))[0]["money_credit"] / 1000


class Loans(scrapy.Spider):
    """Scrapes amounts."""

    name = "loans"

    async def start(self):
        yield scrapy.Request("data:,1000 2000 3000")

    def parse(self, response):
        for amount in response.text.split():
            yield {"money_credit": int(amount)}


if __name__ == "__main__":
    process = CrawlerProcess(
        {
            "ADDONS": {"eas_tw.scrapy.Addon": 500},
            "EAS_ENDPOINT": os.environ["EAS_ENDPOINT"],
            "EAS_SERVICE": "scorecard_pmml_example",
            "EAS_TOKEN": os.environ["EAS_TOKEN"],
            "EAS_SCORER": LoanScorer,
        }
    )
    process.crawl(Loans)
    process.start()
