"""`eas-tw score` is killed with SIGKILL several times and resumed: each row is in the output once."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest

from eas_tw.testing.service import RemoteService
from tests.integration.scoring import account, lines, score, start, write_rows
from tests.patience import PATIENCE_S, until

KILLS = 5
IN_FLIGHT = 8
ROWS = 2000


@pytest.mark.eas_service(processor="echo", processing="exponential:0.002")
@pytest.mark.parametrize(
    ("seed", "batch"), [(1, 1), *(pytest.param(*long, marks=pytest.mark.long) for long in ((2, 1), (3, 4)))]
)
def test_each_row_is_in_the_output_once_and_few_are_sent_again(
    seed: int, batch: int, eas_service: RemoteService, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    rows = write_rows(tmp_path / "in.jsonl", ROWS)
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write("not JSON\n")
    output = tmp_path / "out.jsonl"
    arguments = ("in.jsonl", "--output", "out.jsonl", "--resume", "--quiet", "--json")
    limits = ("--in-flight", str(IN_FLIGHT), "--batch", str(batch))
    kills, written = 0, 0
    # Each run is killed at a random size of the output, before or after the journal has recorded that size.
    for mark in sorted(rng.sample(range(ROWS * 5, ROWS * 25), KILLS)):
        process = start(eas_service, tmp_path, *arguments, *limits)
        kill_at(process, output, mark)
        kills += process.returncode == -signal.SIGKILL
        assert output.stat().st_size >= written
        written = mark
    assert kills == KILLS, "the job did not end before"
    found = account(score(eas_service, tmp_path, *arguments, *limits))
    assert (found["rows_done"], found["rows_failed"], found["is_finished"]) == (ROWS + 1, 1, True)
    assert lines(output) == [{"row": number, **row} for number, row in enumerate(rows)]
    assert [error["row"] for error in lines(tmp_path / "out.jsonl.errors.jsonl")] == [ROWS]
    # A batch that is read again may begin at another row. The batch with the invalid line is split.
    more = 0 if batch == 1 else KILLS + 2 * batch
    assert ROWS // batch <= eas_service.count() <= ROWS // batch + KILLS * IN_FLIGHT + more


def kill_at(process: subprocess.Popen[bytes], output: Path, size: int) -> None:
    """Kill a process when its output has at least the given size, unless it has ended before."""
    until(lambda: process.poll() is not None or (output.exists() and output.stat().st_size >= size))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
