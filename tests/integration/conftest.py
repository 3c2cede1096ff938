"""Fixtures for tests over real sockets: a simulator for each module, and a check of the reactor after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor

from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0ken-nobody-may-see"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start a simulator for a module, with the services `echo`, which returns the body, and `mnist`, an image model."""
    services = ("--service", "echo=3", "--service", "mnist=2")
    with Served(tmp_path_factory.mktemp("simulator"), *services, "--token", TOKEN, "--seed", "7") as served:
        yield served


@pytest.fixture
def served(running: Served) -> Served:
    """Reset the module's simulator."""
    status, _ = running.admin("POST", "/v1/reset", {})
    assert status == 200
    return running


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Assert that a test leaves no socket and no timer in the reactor."""

    def held() -> list[set[Any]]:
        readers = set(reactor.getReaders()) - reactor._internalReaders
        return [readers, set(reactor.getWriters()), set(reactor.getDelayedCalls())]

    before = held()
    yield
    assert held() == before
