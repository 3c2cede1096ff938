"""Fixtures with a simulated language model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.openai.model import TOKEN
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    if "pytest_twisted" in sys.modules:
        pytest.exit("pytest-twisted installs a reactor that is not asyncio's: run with -p no:twisted")


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "chat=3", "--processor", "llm:ttft=0,tokens_per_s=0", "--token", TOKEN, "--seed", "7")
    with Served(tmp_path_factory.mktemp("chat"), *services) as served:
        yield served


@pytest.fixture
def served(running: Served) -> Served:
    """Reset the simulator with the language model to its initial state."""
    assert running.admin("POST", "/v1/reset", {})[0] == 200
    return running
