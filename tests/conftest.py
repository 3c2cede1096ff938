"""Configuration of all tests. A suite is collected only if its additional packages are installed; see `tox`."""

from __future__ import annotations

import gc
import os
import signal
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In a background job of a shell, SIGINT is ignored. Subprocesses inherit this, but some tests send SIGINT to them.
    signal.signal(signal.SIGINT, signal.default_int_handler)

NEEDS = {
    "official_sdk": ("eas-prediction",),
    "scrapy": ("scrapy",),
    "extras": ("virtualenv",),
    "http_transport": ("httpx2", "httpx"),
    "openai": ("openai", "fastapi", "uvicorn"),
    "litellm": ("litellm",),
    "schema": ("schemathesis",),
    "dask": ("dask", "distributed"),
    "ray": ("ray",),
    "spark": ("pyspark",),
    "bulk/test_parquet.py": ("pyarrow",),
    "protos": ("grpcio-tools",),
    "integration/test_telemetry.py": ("opentelemetry-sdk", "prometheus-client"),
}


def _is_missing(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return True
    return False


collect_ignore = [suite for suite, packages in NEEDS.items() if any(map(_is_missing, packages))]

if not _is_missing("hypothesis"):
    from hypothesis import HealthCheck, settings

    # On a slow machine, Hypothesis's deadline and health checks would fail correct tests.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return the number for `--numprocesses=auto`: processors + 1, because tests with sockets often wait."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # pytest-xdist reads this variable itself
    return (os.cpu_count() or 1) + 1


_LEFT_OUT = pytest.StashKey[int]()
_KEY = "long tests left out"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT_OUT] = 0


def pytest_collection_finish() -> None:
    """Exclude the objects that exist before the first test from garbage collection, which some tests run often."""
    gc.collect()
    gc.freeze()


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        item.config.stash[_LEFT_OUT] += "long" in item.keywords


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker process of pytest-xdist
        session.config.workeroutput[_KEY] = session.config.stash[_LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Copy the number of deselected tests from a pytest-xdist worker. All workers have the same number."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get(_KEY, 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if count := config.stash[_LEFT_OUT]:
        tests, them = ("test was", "it") if count == 1 else ("tests were", "them")
        terminalreporter.write_line(f"{count} long {tests} left out; `make check` runs {them}, too", yellow=True)
