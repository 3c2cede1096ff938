"""The pytest plug-in: a simulator for a test session, a clean one for a test, a service of its own for a test.

The simulator is a process of its own, so the tests may use any reactor, any event loop or none. Importing this module
costs next to nothing and imports neither Twisted nor a reactor; the rest is imported by the fixture that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eas_tw.testing.remote import Remote
    from eas_tw.testing.service import RemoteService

_MARKER = (
    "eas_service(name=None, instances=3, weights=(), token=..., processor='', workers=5, queue=64, processing=0, "
    "keepalive_s=5, rate_limit=None, zones=()): what the eas_service fixture's service is like"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--eas-simulator-url`."""
    parser.getgroup("eas-simulator", "a fake PAI-EAS").addoption(
        "--eas-simulator-url",
        default=None,
        metavar="URL",
        help="use the simulator that runs there; without it each session (each xdist worker) starts one of its own",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker's description."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture(scope="session")
def eas_simulator_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A simulator for all tests of the session, in whatever state they leave it."""
    from eas_tw.testing.process import subprocess_simulator  # noqa: PLC0415
    from eas_tw.testing.remote import Remote  # noqa: PLC0415

    url = request.config.getoption("--eas-simulator-url")
    if url:
        yield Remote(url)
        return
    with subprocess_simulator(tmp_path_factory.mktemp("eas-simulator")) as remote:
        yield remote


@pytest.fixture
def eas_simulator(eas_simulator_session: Remote) -> Iterator[Remote]:
    """The session's simulator, at its beginning: all runs, no faults, an empty journal, chance from the seed."""
    eas_simulator_session.reset()
    yield eas_simulator_session
    eas_simulator_session.reset()


@pytest.fixture
def eas_service(request: pytest.FixtureRequest, eas_simulator_session: Remote) -> Iterator[RemoteService]:
    """A service of this test alone, as `@pytest.mark.eas_service(...)` says; gone after it, with its faults."""
    from eas_tw.testing.service import start_service  # noqa: PLC0415

    marker = request.node.get_closest_marker("eas_service")
    with start_service(eas_simulator_session, **(marker.kwargs if marker else {})) as service:
        yield service
