"""Runs the commands of a documentation page in order, in one folder, against local simulators."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from simulator.cli import _parser
from tests.docs.pages import EXAMPLES, ROOT
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "t0ken"
_SIMULATOR, _APPLICATION = "127.0.0.1:8780", "127.0.0.1:8080"
_REGION = re.compile(r"http://pai-eas-vpc\.[\w-]+\.aliyuncs\.com")
_SERVE = re.compile(r"python -m simulator(?: serve)?(?= --(?!help))")


class Console:
    """Runs the commands of a page. Commands that do not end are stopped. Commands that take minutes are only parsed.

    Args:
        folder: The working directory; the examples are copied into it.
        served: The simulator that the page assumes to be running.
    """

    def __init__(self, folder: Path, served: Served) -> None:
        self._folder = folder
        self._opened = ExitStack()
        self._variables = {
            **environment(),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",  # output is unbuffered, as on a terminal
            "EAS_TOKEN": TOKEN,
        }
        self._use(served)
        shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
        self._kinds: tuple[tuple[str, Callable[[str], str]], ...] = (
            # pattern of a command -> method that runs it; the first match is used
            (_SERVE.pattern, self._serve),
            (r"python -m simulator (demo|soak|shrink|replay)\b", self._read_only),
            (r"python -m simulator record ", lambda command: self._watch(f"{command} --port 0")),
            (r"python tutorial\.py", self._watch),  # this program runs for half a minute
            (r"python -m simulator requests .*--follow|eas-tw discover .*--watch|curl -N", self._watch),
            (r"export ", self._export),
            (r".*\btwistd ", self._run_application),
            (r"python -m simulator |python \w+\.py|eas-tw |curl ", self._run),
            (r"pip install ", self._install),
            (r"make ", self._make),
            (r"tox run -e ", self._tox),
            (r"pytest ", self._pytest),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def type(self, command: str) -> str:
        """Run a command, and return its output.

        Raises:
            AssertionError: The command failed, or no pattern matches it.
        """
        for pattern, do in self._kinds:
            if re.match(pattern, command):
                return do(command)
        raise AssertionError(f"no rule for {command!r}: add one to Console._kinds in tests/docs/console.py")

    def _use(self, served: Served) -> None:
        self._url = served.ready["url"]
        self._variables["EAS_SIMULATOR_URL"] = self._url

    def _local(self, command: str) -> str:
        """Replace the addresses in a page's command with those of the running simulator."""
        port = self._variables.get("LISTEN", "tcp:8080").split(":")[1]
        text = _REGION.sub(self._url, command.replace(_SIMULATOR, self._url.removeprefix("http://")))
        return text.replace(_APPLICATION, f"127.0.0.1:{port}").replace("EAS_TOKEN=…", f"EAS_TOKEN={TOKEN}")

    def _run(self, command: str) -> str:
        ended = subprocess.run(  # noqa: S603
            ["bash", "-c", self._local(command)],  # noqa: S607
            env=self._variables,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ended.returncode == 0, f"{command}: {ended.returncode}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def _serve(self, command: str) -> str:
        given = os.path.expandvars(_SERVE.sub("", command).partition(" #")[0].replace('"$EAS_TOKEN"', TOKEN))
        folder = self._folder / f"simulator-{len(list(self._folder.glob('simulator-*')))}"
        shutil.copytree(EXAMPLES, folder)
        served = self._opened.enter_context(Served(folder, *shlex.split(given)))
        self._use(served)
        return served.output

    def _start(self, command: str, until: str) -> tuple[subprocess.Popen[str], str]:
        """Start a program that does not end by itself, and wait until it has printed `until`."""
        process = subprocess.Popen(  # noqa: S603
            ["bash", "-c", f"exec {self._local(command)}"],  # noqa: S607
            env=self._variables,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if until in line:
                return process, told
        process.stdout.close()
        raise AssertionError(f"{command}: {process.wait(PATIENCE_S)}: {told}")

    def _watch(self, command: str) -> str:
        process, told = self._start(command.partition(" #")[0], "")
        _end(process)
        return told

    def _run_application(self, command: str) -> str:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self._variables["LISTEN"] = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        # `exec` accepts no variable assignments before the command, but `env` does.
        process, told = self._start(f"env {command}", "list of instances changed")
        self._opened.callback(_end, process)
        return told

    def _export(self, command: str) -> str:
        for part in shlex.split(self._local(command))[1:]:
            name, _, value = part.partition("=")
            self._variables[name] = value
        return ""

    def _read_only(self, command: str) -> str:
        """Parse a command that takes minutes or needs a seed that fails. Other tests run these commands."""
        _, _, _, name, *given = shlex.split(command, comments=True)
        _parser(name).parse_args([name, *given])
        return ""

    def _install(self, command: str) -> str:
        """Check the syntax of an install command. Its packages are already installed."""
        named, *others = shlex.split(command)[2:]
        # Pages install from a clone, because no registry has the package. test_blocks.py checks that the extra exists.
        assert re.fullmatch(r"\.\[\w+\]", named)
        assert set(others) <= {"pytest", "pytest-twisted"}
        return ""

    def _make(self, command: str) -> str:
        target = shlex.split(command, comments=True)[1]
        ended = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607
        assert ended.returncode == 0, ended.stderr
        return ""

    def _tox(self, command: str) -> str:
        environments = configparser.ConfigParser(interpolation=None)
        environments.read(ROOT / "tox.ini")
        assert f"testenv:{shlex.split(command)[3]}" in environments
        return ""

    def _pytest(self, command: str) -> str:
        assert (self._folder / shlex.split(command)[1]).is_file(), "the file exists; test_examples.py runs it"
        return ""


def _end(process: subprocess.Popen[str]) -> None:
    # SIGINT would have no effect: a background job of a shell ignores SIGINT, and its subprocesses inherit this.
    process.terminate()
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in told, told
