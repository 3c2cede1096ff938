"""Fixtures of the tests of `eas_tw.net`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import globalLogPublisher

from tests.net.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Collect the logged failures."""
    found: list[str] = []

    def observe(event: Any) -> None:
        if "log_failure" in event:
            found.append(event["log_failure"].type.__name__)

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)
