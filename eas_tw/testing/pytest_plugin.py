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

_SERVICE_MARKER = (
    "eas_service(name=None, instances=3, processor='', replay=None, verify=False, **more): the eas_service fixture's "
    "service; more as POST /v1/services takes it, such as weights, token, workers, processing"
)
_SCENARIO_MARKER = "eas_scenario(file): a scenario, by file or name, for the fixtures eas_scenario and eas_service"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--eas-simulator-url`."""
    parser.getgroup("eas-simulator", "a fake PAI-EAS").addoption(
        "--eas-simulator-url",
        default=None,
        metavar="URL",
        help="use the simulator that runs there; without it each session (each xdist worker) starts one of its own",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for marker in (_SERVICE_MARKER, _SCENARIO_MARKER):
        config.addinivalue_line("markers", marker)


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
    """The session's simulator, at its beginning: all runs, no faults, an empty journal, the rng as seeded."""
    eas_simulator_session.reset()
    yield eas_simulator_session
    eas_simulator_session.reset()


@pytest.fixture
def eas_scenario(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A simulator of this test alone, in which the scenario of `@pytest.mark.eas_scenario(file)` begins now."""
    from eas_tw.testing.process import subprocess_simulator  # noqa: PLC0415

    marker = request.node.get_closest_marker("eas_scenario")
    if marker is None or len(marker.args) != 1 or marker.kwargs:
        raise pytest.UsageError("eas_scenario needs @pytest.mark.eas_scenario(FILE), a scenario's file or name")
    scenario = str(marker.args[0])
    # A file beside the test is meant, wherever pytest was started.
    beside = request.node.path.parent / scenario
    if beside.exists():
        scenario = str(beside)
    with subprocess_simulator(tmp_path_factory.mktemp("eas-scenario"), "--scenario", scenario) as remote:
        yield remote


@pytest.fixture
def eas_service(request: pytest.FixtureRequest) -> Iterator[RemoteService]:
    """A service of this test alone, as `@pytest.mark.eas_service(...)` says; gone after it, with its faults.

    With `@pytest.mark.eas_scenario(file)` it is the first service of that scenario.
    """
    from eas_tw.testing.service import first_service, start_service  # noqa: PLC0415

    if request.node.get_closest_marker("eas_scenario") is not None:
        with first_service(request.getfixturevalue("eas_scenario")) as service:
            yield service
        return
    marker = request.node.get_closest_marker("eas_service")
    simulator = request.getfixturevalue("eas_simulator_session")
    with start_service(simulator, **(marker.kwargs if marker else {})) as service:
        yield service
