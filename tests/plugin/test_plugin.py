"""The pytest plug-in from the source tree: which modules its import loads, and a separate project that uses it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eas_tw.testing import Remote, SimulatorFailed, subprocess_simulator
from tests.patience import PATIENCE_S
from tests.simulator.serving import environment

PROJECT = Path(__file__).parent / "project"
_COST = """
import sys
import pytest
before = set(sys.modules)
import eas_tw.testing.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""


def test_importing_the_plugin_imports_four_small_modules() -> None:
    """The import must not load Twisted, a reactor, or a module of the simulator."""
    command = [sys.executable, "-c", _COST]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)  # noqa: S603
    assert ended.stdout.split() == ["eas_tw", "eas_tw.lazy_exports", "eas_tw.testing", "eas_tw.testing.pytest_plugin"]


def test_a_project_that_names_the_plugin_by_hand(tmp_path: Path) -> None:
    """The second run passes the URL of a running simulator, and starts no simulator."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "eas_tw.testing.pytest_plugin",
        "-c",
        os.devnull,
    ]
    variables = {**environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for more in ([], ["--eas-simulator-url"]):
        with subprocess_simulator(tmp_path) as remote:
            arguments = [*more, *([remote.url] if more else []), "test_with_nothing.py"]
            ended = subprocess.run(  # noqa: S603
                [*command, *arguments], cwd=project, env=variables, capture_output=True, text=True, check=False
            )
            assert "6 passed" in ended.stdout, ended.stdout + ended.stderr
            # Each test has removed its service, in both cases.
            assert [service["name"] for service in remote.services()] == ["mnist_saved_model_example"]


@pytest.mark.parametrize("layout", ["simulator.py", "simulator/__init__.py"])
def test_a_project_may_have_a_module_named_simulator(tmp_path: Path, layout: str) -> None:
    """The tests import the project's module, the fixtures run our simulator, and the project's processor is found."""
    files = {
        layout: "VALUE = 42\n",
        "json.py": "raise RuntimeError('the project folder shadows the standard library')\n",
        "mine.py": "def double(body):\n    return body * 2\n",
        "test_mine.py": (
            "import http.client, pytest, simulator\n"
            "from eas_tw.testing import subprocess_simulator\n"
            "def test_value(eas_service, tmp_path):\n"
            "    assert simulator.VALUE == 42\n"
            "    assert len(eas_service.instances) == 3\n"
            "    how = ['--service=own=1', '--token=', '--processor=mine:double']\n"
            "    with subprocess_simulator(tmp_path, *how) as remote:\n"
            "        [instance] = remote.instances()\n"
            "        connection = http.client.HTTPConnection(instance['ip'], instance['port'], timeout=100)\n"
            "        connection.request('POST', '/api/predict/own', b'ab')\n"
            "        assert connection.getresponse().read() == b'abab'\n"
            "        connection.close()\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    # As with the installed program `pytest`, the current folder is added to the path after pytest's modules are loaded.
    start = "import sys, pytest, json; sys.path.insert(0, ''); sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-P", "-c", start, "-q", "-p", "eas_tw.testing.pytest_plugin", "-c", os.devnull]
    variables = {**environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(  # noqa: S603
        [*command, f"--rootdir={tmp_path}", "test_mine.py"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr


def test_the_error_of_a_simulator_that_does_not_start_has_its_output(tmp_path: Path) -> None:
    with pytest.raises(SimulatorFailed, match="--no-such-flag"), subprocess_simulator(tmp_path, "--no-such-flag"):
        pass


def test_a_simulator_ends_when_its_parent_process_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys; from eas_tw.testing import subprocess_simulator\n"
        "with subprocess_simulator(pathlib.Path(sys.argv[1])) as remote:\n"
        "    print(remote.url, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603
    remote = Remote(ended.stdout.strip())
    # The stream of events ends when the simulator ends. If the simulator has ended already, opening the stream fails.
    with contextlib.suppress(ConnectionError), remote.events() as events:
        for _ in events:
            pass
    with pytest.raises(ConnectionError):
        remote.state()


@pytest.mark.parametrize(
    ("marker", "says"),
    [
        ("eas_service(3)", "UsageError: eas_service takes arguments by name, such as @pytest.mark.eas_service"),
        ('eas_service(replay="no.toml")', "UsageError: eas_service: there is no recording no.toml"),
        ('eas_service(processor="no")', "RemoteError: $.processor: expected one of echo, mnist, "),
    ],
)
def test_a_wrong_marker_is_one_line(tmp_path: Path, marker: str, says: str) -> None:
    lines = ("import pytest", f"@pytest.mark.{marker}", "def test_it(eas_service): pass")
    (tmp_path / "test_marker.py").write_text("\n".join(lines))
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--tb=line", "test_marker.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 1
    assert says in ended.stdout


def test_a_recording_is_found_beside_the_test(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "traffic.toml").write_text("")
    lines = ("import pytest", '@pytest.mark.eas_service(replay="traffic.toml")', "def test_it(eas_service): pass")
    (folder / "test_replay.py").write_text("\n".join(lines))
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path), "tests"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stdout
