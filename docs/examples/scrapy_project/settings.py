"""Settings of a project whose items are scored."""

import os

SPIDER_MODULES = ["loans", "asking"]

ADDONS = {"eas_tw.scrapy.Addon": 500}
EAS_ENDPOINT = "http://pai-eas-vpc.cn-shanghai.aliyuncs.com"
EAS_SERVICE = "scorecard_pmml_example"
EAS_TOKEN = os.environ["EAS_TOKEN"]
EAS_SCORER = "loans.LoanScorer"
