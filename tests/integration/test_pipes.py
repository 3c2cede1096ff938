"""Each command ends without a traceback when its output is closed, as by `head`, or when the disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulator.cli import COMMANDS
from tests.integration.conftest import TOKEN
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

PLANS = Path(__file__).parents[1] / "simulation" / "found"
# The arguments with which each command is run. `make test` uses only the first arguments of each command.
EAS_TW = {
    "": ["--help", "--version"],
    "predict": [
        "predict [1]",
        "predict --help",
        "predict [1] --output raw",
        "predict [1] --output json",
        "predict [1] --stream",
        "predict [1] --sse data",
        "predict [1] --sse json",
    ],
    "discover": ["discover --watch", "discover", "discover --output json", "discover --watch --interval-s 3600"],
    "completion": ["completion bash"],
    "score": ["score --help"],
    "queue": ["queue watch --help", "queue --help"],
    "perf": [
        "perf [1] --rate 100 --duration 3600",
        "perf [1] --calls 20",
        "perf compare --help",
        "perf [1] --calls 100000000 --output json",
    ],
}
SIMULATOR = {
    "": ["--help", "--version"],
    "serve": ["serve --help"],  # tests/simulator tests the end of a server
    "demo": ["demo", "demo --json"],
    "check": ["check everything"],
    "completion": ["completion bash"],
    "status": ["status", "status --json"],
    "instances": ["instances", "instances crash echo-0"],
    "faults": ["faults types", "faults --json"],
    "requests": ["requests", "requests --follow", "requests --follow --service none"],
    "reset": ["reset"],
    "record": ["record --help"],  # `record` runs until it is stopped, as `serve` does
    "openapi": ["openapi"],
    "simulate": ["simulate --seed 1 --hours 0.001", "simulate --seed 1 --hours 0.01 --json"],
    "soak": ["soak --seeds 1..2 --hours 0.01 --json"],
    "replay": [f"replay {next(iter(sorted(PLANS.glob('*.toml'))))}"],
    "shrink": ["shrink --help"],  # `shrink` would need a seed that fails
}


def lines(*long: str) -> list[Any]:
    """Return module and arguments of each run. Only the first run of a command that is not in `long` has no mark."""
    return [
        pytest.param(module, line, id=f"{module} {line}", marks=[pytest.mark.long] if number or name in long else [])
        for module, commands in (("eas_tw.cli", EAS_TW), ("simulator", SIMULATOR))
        for name, each in commands.items()
        for number, line in enumerate(each)
    ]


def command(module: str, line: str) -> list[str]:
    return [sys.executable, "-m", module, *line.split()]


def variables(served: Served) -> dict[str, str]:
    url = served.ready["url"]
    # Twisted reserves a descriptor when it listens, and with warnings enabled Python warns about it at exit.
    found = {name: value for name, value in environment().items() if not name.startswith(("EAS_", "PYTHONWARNINGS"))}
    return {**found, "EAS_ENDPOINT": url, "EAS_SIMULATOR_URL": url, "EAS_TOKEN": TOKEN, "EAS_SERVICE": "echo"}


def ended(served: Served, arguments: Sequence[str], stdout: int) -> tuple[int, str]:
    """Return exit code and standard error of a command that runs with the given standard output."""
    done = subprocess.run(  # noqa: S603
        arguments,
        env=variables(served),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_table_has_every_command() -> None:
    assert set(SIMULATOR) == {"", *COMMANDS}


@pytest.mark.parametrize(("module", "line"), lines("soak"))  # `soak` starts other processes
def test_a_pipe_without_a_reader_ends_each_command_with_0(served: Served, module: str, line: str) -> None:
    served.predict("echo", b"[1]", {"Authorization": TOKEN})
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert ended(served, command(module, line), writing) == (0, "")
    finally:
        os.close(writing)


@pytest.mark.parametrize(("module", "line"), lines("demo", "soak"))  # a demo runs to its end, in real time
def test_a_command_works_when_standard_output_was_closed_before_its_start(
    served: Served, module: str, line: str
) -> None:
    """In a shell, `>&-` closes standard output. The command runs, or ends immediately if it only prints."""
    served.predict("echo", b"[1]", {"Authorization": TOKEN})
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command(module, line)]
    assert ended(served, shell, subprocess.DEVNULL) == (0, "")


@pytest.mark.parametrize(
    ("module", "line", "code"),
    [
        ("eas_tw.cli", "predict --service", 2),
        ("eas_tw.cli", "predict [1] --service none", 69),
        ("eas_tw.cli", "discover", 0),
        ("simulator", "status --nothing", 2),
        ("simulator", "check /nonexistent", 65),
        ("simulator", "simulate --seed 1 --hours 0.001", 0),
        pytest.param("simulator", "soak --seeds 1..2 --hours 0.01", 0, marks=pytest.mark.long),
        ("simulator", "simulate --seed 1 --profile none", 2),
    ],
)
def test_the_exit_code_is_right_when_both_streams_were_closed_before_the_start(
    served: Served, module: str, line: str, code: int
) -> None:
    shell = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command(module, line)]
    assert ended(served, shell, subprocess.DEVNULL)[0] == code


@pytest.mark.parametrize(
    ("module", "line"),
    [("eas_tw.cli", "discover --watch --interval-s 3600"), ("simulator", "requests --follow"), ("simulator", "demo")],
)
def test_a_command_ends_when_the_reader_closes_the_pipe_after_a_line(served: Served, module: str, line: str) -> None:
    """The first two commands print nothing after their first line. The demo prints much more."""
    served.predict("echo", b"[1]", {"Authorization": TOKEN})
    process = subprocess.Popen(  # noqa: S603
        command(module, line),
        env=variables(served),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    with process.stderr as errors:
        assert (process.wait(PATIENCE_S), errors.read()) == (0, "")


def test_the_exit_code_is_right_when_both_streams_are_pipes_without_a_reader(served: Served) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lines = {
        "predict --service": ("eas_tw.cli", 2),
        "discover --endpoint-type gateway": ("eas_tw.cli", 2),
        "discover": ("eas_tw.cli", 0),
        "status --nothing": ("simulator", 2),
        "check /nonexistent": ("simulator", 65),
        "status": ("simulator", 0),
    }
    for line, (module, code) in lines.items():
        done = subprocess.run(  # noqa: S603
            command(module, line),
            env=variables(served),
            stdout=writing,
            stderr=writing,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == code, line
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
@pytest.mark.parametrize("line", ["discover", "predict [1]", "predict [1] --output raw", "--help"])
def test_a_full_disk_is_one_line(served: Served, line: str) -> None:
    with Path("/dev/full").open("w") as full:
        said = "eas-tw: cannot write to standard output: No space left on device\n"
        assert ended(served, command("eas_tw.cli", line), full.fileno()) == (74, said)


_FAILS_AT_THE_REPORT = """
import sys
from simulator.cli import main

class Output:
    def write(self, text):
        if "retries.\\n" in text:
            raise {error}
    def flush(self):
        pass
    def isatty(self):
        return False

sys.stdout = Output()
sys.exit(main(["demo", "--scenario", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("OSError(28, 'No space')", "simulator: cannot write to standard output: No space"),
        ("ValueError('another error')", "ValueError: another error"),
    ],
)
def test_an_error_in_the_report_of_a_demo_is_shown(served: Served, tmp_path: Path, error: str, says: str) -> None:
    """The report is written while the reactor runs, and the reactor would only log an exception.

    A full disk is one line. Any other error is an error of the program, so it has a traceback.
    """
    story = tmp_path / "story.toml"
    story.write_text("length_s = 0.1\n")
    program = _FAILS_AT_THE_REPORT.replace("{error}", error)
    code, shown = ended(served, [sys.executable, "-c", program, str(story)], subprocess.DEVNULL)
    assert (code, shown.splitlines()[-1:]) == (1, [says])
    assert ("Traceback" in shown) == error.startswith("ValueError")
