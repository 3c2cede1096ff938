"""Suites that need a package of their own run where that package is: `tox` has an environment for each."""

import signal
from importlib.metadata import PackageNotFoundError, version

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every program that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_NEEDS = {
    "official_sdk": ("eas-prediction",),
    "scrapy": ("scrapy",),
    "extras": ("virtualenv",),
    "integration/test_telemetry.py": ("opentelemetry-sdk", "prometheus-client"),
}


def _is_missing(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return True
    return False


collect_ignore = [suite for suite, packages in _NEEDS.items() if any(map(_is_missing, packages))]
