"""Fixtures: each HTTP library, and a simulator whose service returns the received request."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0ken-nobody-may-see"


@frozen
class Kit:
    """One of the two HTTP libraries, and the transports of eas_tw for it."""

    http: Any
    ours: Any

    def transport(self, served: Served, service: str = "show", **settings: Any) -> Any:
        """Make an asynchronous transport."""
        return self.ours.AsyncTransport(
            served.ready["url"], service, **{"token": TOKEN, "endpoint_type": "DIRECT", **settings}
        )

    def client(self, served: Served, service: str = "show", *, timeout: Any = 60, **settings: Any) -> Any:
        """Make an asynchronous client of the library on a transport."""
        return self.http.AsyncClient(
            transport=self.transport(served, service, **settings), base_url="http://eas/", timeout=timeout
        )

    def blocking(self, served: Served, service: str = "show", *, timeout: Any = 60, **settings: Any) -> Any:
        """Make a blocking client of the library on a transport."""
        transport = self.ours.Transport(
            served.ready["url"], service, **{"token": TOKEN, "endpoint_type": "DIRECT", **settings}
        )
        return self.http.Client(transport=transport, base_url="http://eas/", timeout=timeout)


@pytest.fixture(params=["httpx2", "httpx"])
def kit(request: pytest.FixtureRequest) -> Kit:
    library = pytest.importorskip(request.param)
    if "pytest_twisted" in sys.modules:
        pytest.skip("pytest-twisted installs a reactor that is not asyncio's: run with -p no:twisted")
    return Kit(library, import_module(f"eas_tw.{request.param}"))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "show=2", "--processor", "request+tests.http_transport.service:answer")
    with Served(tmp_path_factory.mktemp("simulator"), *services, "--token", TOKEN, "--seed", "7") as served:
        yield served


@pytest.fixture
def served(running: Served) -> Served:
    """Reset the simulator to its initial state."""
    assert running.admin("POST", "/v1/reset", {})[0] == 200
    return running
