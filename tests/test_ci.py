"""CI runs each test environment, or the environment is documented as run by hand."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests import conftest, needs

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = {
    "py", "lint", "types", "docs", "official-sdk", "browser", "schema", "plugin", "scrapy-lowest", "scrapy-latest",
    "openai", "litellm", "dask",
}  # fmt: skip

if not (ROOT / "Makefile").is_file():
    pytest.skip("needs tox.ini and docs/, which only a source tree has", allow_module_level=True)


def braces(text: str) -> set[str]:
    """Expand `a-{b,c}` to the names of environments, as tox does."""
    match = re.fullmatch(r"(.*)\{(.*)\}(.*)", text)
    if not match:
        return {text}
    return {f"{match[1]}{each}{match[3]}" for each in match[2].split(",")}


@pytest.fixture(scope="module")
def tox() -> dict[str, dict[str, str]]:
    """Return the sections of tox.ini with their settings."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    sections = {name: dict(parser[name]) for name in parser.sections()}
    return {each: section for name, section in sections.items() for each in braces(name)}


@pytest.fixture(scope="module")
def env_list(tox: dict[str, dict[str, str]]) -> set[str]:
    """Return the environments that tox runs by default."""
    return {each for name in re.split(r",\s*(?![^{]*\})", tox["tox"]["env_list"]) for each in braces(name)}


def commands(target: str) -> list[str]:
    """Return the tox commands of a make target."""
    ended = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return [line for line in ended.stdout.splitlines() if "tox run" in line]


def test_ci_runs_every_environment_of_the_list(env_list: set[str]) -> None:
    """`.ci/run` runs `make check`: tox with its whole list, all tests, and an error for each missing program."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert script.splitlines()[-1] == "exec make check"
    assert "\nexport EAS_REQUIRE_BROWSER=1\n" in script
    (command,) = commands("check")
    assert command.split()[1:] == ["run-parallel", "--parallel", "2"]
    assert env_list == ENVIRONMENTS


def test_every_environment_is_run_by_ci_or_listed_in_contributing(
    tox: dict[str, dict[str, str]], env_list: set[str]
) -> None:
    known = {name.removeprefix("testenv:") for name in tox if name.startswith("testenv:")} | {"py"}
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## What CI does not run")[2].partition("\n## ")[0]
    told = {each for cell in re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE) for each in braces(cell)}
    assert told == known - env_list


def test_every_suite_that_needs_packages_of_its_own_has_an_environment(tox: dict[str, dict[str, str]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    shared = [*project["dependency-groups"]["test"], *tox["testenv"]["deps"].splitlines()]
    shared += [package for extra in tox["testenv"]["extras"].split() for package in extras[extra]]
    for suite, packages in conftest.NEEDS.items():
        path = f"tests/{suite}"
        own = [section for section in tox.values() if path in section.get("commands", "")]
        found = [shared] if not own else [section_packages(section, extras) for section in own]
        for package in packages:
            assert any(re.search(rf"\b{package}\b", line) for lines in found for line in lines), (suite, package)


def section_packages(section: dict[str, str], extras: dict[str, list[str]]) -> list[str]:
    named = section.get("extras", "").split()
    return [
        *section.get("deps", "").splitlines(),
        *(package for extra in named if extra in extras for package in extras[extra]),
    ]


def test_make_test_leaves_out_what_is_marked_long_and_nothing_else(env_list: set[str]) -> None:
    (command,) = commands("test")
    found = re.fullmatch(r'\S+ run-parallel --parallel 2 -e ([\w,]+) -- -m "not long"', command)
    assert found
    assert set(found[1].split(",")) <= env_list


def test_subprocesses_of_tests_use_cached_bytecode(tox: dict[str, dict[str, str]]) -> None:
    """Compiling all modules takes 0.15 s at each start, and tests start hundreds of subprocesses."""
    settings = tox["testenv"]["set_env"]
    assert "PYTHONPYCACHEPREFIX = {env_dir}/" in settings
    assert "PYTHONDONTWRITEBYTECODE" not in settings


def test_there_is_one_more_test_process_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    assert conftest.pytest_xdist_auto_num_workers() == (os.cpu_count() or 1) + 1
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "7")
    assert conftest.pytest_xdist_auto_num_workers() is None


def test_the_dev_group_has_the_extras_that_the_tests_use(tox: dict[str, dict[str, str]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    used = {package for extra in tox["testenv"]["extras"].split() for package in extras[extra]}
    assert set(groups["extras"]) == used


@pytest.mark.parametrize("name", needs.ADVICE)
@pytest.mark.parametrize("variable", ["CI", "EAS_REQUIRE_BROWSER"])
def test_a_missing_program_skips_a_test_and_fails_it_in_ci(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for each in ("CI", "EAS_REQUIRE_BROWSER"):
        monkeypatch.delenv(each, raising=False)
    says = rf"{name} is not installed; on Debian: apt-get install \w+"
    with pytest.raises(pytest.skip.Exception, match=says):
        needs.program(name)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(pytest.fail.Exception, match=says):
        needs.program(name)


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_deselected_tests_are_reported(tmp_path: Path, processes: tuple[str, ...]) -> None:
    shutil.copy(conftest.__file__, tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long: takes long\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.long\ndef test_long(): pass\ndef test_other(): pass\n"
    )
    for arguments, line in ((("-m", "not long"), "1 long test was left out; `make check` runs it, too"), ((), "")):
        ended = pytest_in(tmp_path, *arguments, *processes)
        assert ended.returncode == 0, ended.stdout
        told: Any = [line for line in ended.stdout.splitlines() if "left out" in line]
        assert told == ([line] if line else [])


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a folder, without the options of this run in the environment."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI"))}
    variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loading all installed plug-ins takes most of the time
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)  # noqa: S603
