"""Suites that need a package of their own run where that package is: `tox` has an environment for each."""

from importlib.util import find_spec

_NEEDS = {"official_sdk": "eas_prediction", "scrapy": "scrapy", "integration/test_telemetry.py": "opentelemetry"}

collect_ignore = [suite for suite, package in _NEEDS.items() if find_spec(package) is None]
