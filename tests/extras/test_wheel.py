"""The built wheel in new virtual environments: the quick start runs, and each extra can be installed alone.

`tests/test_extras.py` tests the error messages with hidden packages. Here the packages are not installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from tests.docs.pages import EXAMPLES, ROOT
from tests.extras.brought import programs
from tests.test_extras import MODULES, USES

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0ken"
SERVICES = ("scorecard_pmml_example", "mnist_saved_model_example")
EXTRAS = sorted(metadata("eas-tw").get_all("Provides-Extra", []))
THERE_ANYWAY = {"tls"}  # treq requires the packages of this extra, so they are always installed


@frozen
class Environment:
    """A virtual environment in a separate folder, in which the source tree cannot be imported."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @classmethod
    def with_installed(cls, folder: Path, what: str) -> Environment:
        subprocess.run([sys.executable, "-m", "virtualenv", "-q", str(folder)], check=True)  # noqa: S603
        made = cls(folder)
        made.run("-m", "pip", "install", "-q", "--disable-pip-version-check", what)
        return made

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            [self.python, *arguments],
            env=self.variables(**variables),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def variables(self, **more: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EAS_"))}
        return {**inherited, **more}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)  # noqa: S603
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment.with_installed(tmp_path_factory.mktemp("bare"), str(wheel))


@pytest.fixture(scope="module")
def ready(bare: Environment) -> Iterator[dict[str, Any]]:
    """Start a simulator from the installed wheel, and return the contents of its ready file."""
    file = bare.folder / "ready.json"
    services = [part for service in SERVICES for part in ("--service", f"{service}=3")]
    command = [bare.python, "-m", "simulator", *services, "--token", TOKEN, "--port", "0", "--ready-file", str(file)]
    with subprocess.Popen(  # noqa: S603
        command, env=bare.variables(), cwd=bare.folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("ready") for line in process.stdout)
        yield json.loads(file.read_text())
        process.terminate()


def test_the_quick_start_runs(bare: Environment, ready: dict[str, Any]) -> None:
    """The README's program runs without warnings, with only the required packages of the wheel."""
    arguments = ("-W", "error", str(EXAMPLES / "five_lines.py"), ready["url"], SERVICES[0], TOKEN)
    ended = bare.run(*arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert '[{"money_credit": 3000000}]' in ended.stdout


@pytest.mark.parametrize("extra", sorted({*USES, *MODULES} - THERE_ANYWAY))
def test_a_missing_extra_is_named(bare: Environment, extra: str) -> None:
    ended = bare.run("-c", f"import sys; {USES.get(extra) or 'import ' + MODULES[extra][0]}")
    assert ended.returncode in (1, 2)
    assert ended.stderr.endswith(f"pip install 'eas-tw[{extra}]'\n")


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_alone_brings_what_it_should(wheel: Path, ready: dict[str, Any], tmp_path: Path, extra: str) -> None:
    environment = Environment.with_installed(tmp_path / extra, f"{wheel}[{extra}]")
    (environment.folder / "program.py").write_text(programs()[extra], "utf-8")
    ended = environment.run("program.py", EAS_ENDPOINT=ready["url"], EAS_TOKEN=TOKEN)
    assert ended.returncode == 0, ended.stderr
    assert not [sign for sign in ("Traceback", " ERROR: ") if sign in ended.stderr]
