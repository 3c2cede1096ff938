"""Child processes of `soak` end with their parent process."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE_S
from tests.simulator.serving import environment

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
from simulator.virtual.soaking import soak

if __name__ == "__main__":
    soak(range(1, 100_000), "calm", 0.001, jobs=2, chunk=1, progress=lambda total: print("begun", flush=True))
"""
SOAK = """
import sys
from simulator.cli import main
from simulator.commands import soak

if __name__ == "__main__":
    soak._LINES_APART_S = 0.0  # the first line of progress comes with the first seeds, instead of after 10 s
    sys.exit(main("soak --seeds 1..100000 --profile calm --hours 0.001 --jobs 2".split()))
"""


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(other, marks=pytest.mark.long) for other in (signal.SIGTERM, signal.SIGINT))],
)
def test_workers_end_with_their_parent(tmp_path: Path, number: int) -> None:
    """All processes write to one pipe, which is closed only when the last process has ended."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, str(program)], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline() != "begun\n":
        assert process.poll() is None
    # Python ignores a KeyboardInterrupt that is raised in a destructor or a callback of the garbage collector. Then a
    # user has to press Ctrl-C again.
    for _ in range(5):
        process.send_signal(number)
        try:
            process.communicate(timeout=PATIENCE_S / 5)
        except subprocess.TimeoutExpired:
            continue
        break
    assert process.poll() not in (None, 0)


def test_an_interrupt_is_an_exit_code(tmp_path: Path) -> None:
    """The exit code is 130 and there is no traceback, although the seeds would take hours."""
    program = tmp_path / "program.py"
    program.write_text(SOAK)
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, str(program)], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    while "seeds" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "Traceback" in output) == (130, False)
