"""`subprocess_simulator`, which runs the simulator in a separate process, for one test or a test session."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eas_tw.testing.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Iterator

# Both limits, in seconds, are much longer than a start or stop usually takes, so that tests pass on a slow machine.
_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 10.0
_POLL_S = 0.01

_RUN_SIMULATOR = """
import importlib.util, sys
folder = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location(
    "simulator", folder + "/__init__.py", submodule_search_locations=[folder]
)
simulator = sys.modules["simulator"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(simulator)
from simulator.cli import main
sys.exit(main())
"""
"""A program that runs this installation's `simulator` package, even if `sys.path` has another module of that name."""


class SimulatorFailed(RuntimeError):
    """The simulator did not start; the message has its output."""


def simulator_command(*arguments: str) -> list[str]:
    """Return the command line that runs the simulator of this installation.

    `python -m simulator` is not used, because it would run a `simulator.py` in the current folder. `-P` keeps the
    current folder off the child's path, for the same reason.

    Args:
        arguments: The arguments, as for `python -m simulator`.
    """
    package = pathlib.Path(__file__).parents[2] / "simulator"
    return [sys.executable, "-P", "-c", _RUN_SIMULATOR, str(package), *arguments]


@contextmanager
def subprocess_simulator(folder: pathlib.Path, *arguments: str, seed: int = 0) -> Iterator[Remote]:
    """Run a simulator in a separate process, on a free port, until the context ends.

    The simulator also exits if the calling process is killed, because its standard input then ends (`--until-eof`).

    Args:
        folder: The folder for the ready file and the log.
        arguments: Additional arguments of `python -m simulator serve`.
        seed: The seed of the simulator's random choices, any integer.

    Raises:
        SimulatorFailed: The simulator did not start within 30 s.
    """
    ready, log = folder / "ready.json", folder / "simulator.log"
    command = simulator_command("serve", "--port", "0", "--ready-file", str(ready), "--seed", str(seed))
    # A processor that is given as `module:callable` may be in a module of the tests' project.
    command += ["--until-eof", "--processor-path", str(pathlib.Path.cwd()), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)  # noqa: S603
    try:
        found = _wait_until_ready(ready, process, log)
        yield Remote(found["url"], tokens={service["name"]: service["token"] for service in found["services"]})
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _read_ready_file(ready: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(ready.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _wait_until_ready(ready: pathlib.Path, process: subprocess.Popen[bytes], log: pathlib.Path) -> Any:
    never = threading.Event()
    for _ in range(int(_START_WITHIN_S / _POLL_S)):
        found = _read_ready_file(ready)
        if found.get("pid") == process.pid:  # a file of an earlier simulator has another pid
            return found
        if process.poll() is not None:
            break
        never.wait(_POLL_S)
    raise SimulatorFailed(f"the simulator did not start:\n{log.read_text('utf-8', 'replace')}")
