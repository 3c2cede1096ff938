"""The pytest plug-in, with fixtures for a simulator and for a service of each test.

The simulator is a separate process, so the tests may use any reactor or event loop, or none. pytest imports this module
in every run, so it does not import Twisted; each fixture imports what it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eas_tw.testing.remote import Remote
    from eas_tw.testing.service import RemoteService

_SERVICE_MARKER = (
    "eas_service(name=None, instances=3, processor='', replay=None, verify=False, **more): the service of the fixture "
    "eas_service; more are fields of POST /v1/services, such as weights, token, workers, processing"
)
_SCENARIO_MARKER = "eas_scenario(file): the scenario of the fixtures eas_scenario and eas_service, a file or a name"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--eas-simulator-url`."""
    parser.getgroup("eas-simulator", "a fake PAI-EAS").addoption(
        "--eas-simulator-url",
        default=None,
        metavar="URL",
        help="use a running simulator; by default each session (each xdist worker) starts a simulator",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for marker in (_SERVICE_MARKER, _SCENARIO_MARKER):
        config.addinivalue_line("markers", marker)


@pytest.fixture(scope="session")
def eas_simulator_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """The simulator of the session; its state is not reset between tests."""
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
    """The simulator of the session, reset before and after the test.

    After a reset all instances run, there are no faults, the journal is empty, and the rng has its initial seed.
    """
    eas_simulator_session.reset()
    yield eas_simulator_session
    eas_simulator_session.reset()


@pytest.fixture
def eas_scenario(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A simulator for one test, with the scenario of `@pytest.mark.eas_scenario(file)`, which starts with the test."""
    from eas_tw.testing.process import subprocess_simulator  # noqa: PLC0415

    marker = request.node.get_closest_marker("eas_scenario")
    if marker is None or len(marker.args) != 1 or marker.kwargs:
        raise pytest.UsageError("eas_scenario needs @pytest.mark.eas_scenario(FILE), a scenario's file or name")
    scenario = str(_beside(request, marker.args[0]))
    with subprocess_simulator(tmp_path_factory.mktemp("eas-scenario"), "--scenario", scenario) as remote:
        yield remote


@pytest.fixture
def eas_service(request: pytest.FixtureRequest) -> Iterator[RemoteService]:
    """A service for one test, with the arguments of `@pytest.mark.eas_service(...)`; it is removed after the test.

    With `@pytest.mark.eas_scenario(file)`, the fixture is the first service of that scenario.
    """
    from eas_tw.testing.service import first_service, start_service  # noqa: PLC0415

    if request.node.get_closest_marker("eas_scenario") is not None:
        with first_service(request.getfixturevalue("eas_scenario")) as service:
            yield service
        return
    marker = request.node.get_closest_marker("eas_service")
    if marker is not None and marker.args:
        raise pytest.UsageError("eas_service takes arguments by name, such as @pytest.mark.eas_service(instances=5)")
    simulator = request.getfixturevalue("eas_simulator_session")
    given = dict(marker.kwargs) if marker else {}
    if given.get("replay") is not None:
        given["replay"] = _beside(request, given["replay"])
        if not given["replay"].is_file():
            raise pytest.UsageError(f"eas_service: there is no recording {given['replay']}")
    with start_service(simulator, **given) as service:
        yield service


def _beside(request: pytest.FixtureRequest, file: str | Path) -> Path:
    """Resolve a path relative to the folder of the test, or to the current folder if no such file is there."""
    beside: Path = request.node.path.parent / file
    return beside if beside.exists() else Path(file)
