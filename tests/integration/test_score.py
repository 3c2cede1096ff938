"""`eas-tw score` in subprocesses: formats, requests, error rows, limits, and resumed jobs."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eas_tw.testing import answer
from eas_tw.testing.service import RemoteService
from simulator.processors.mnist import score as mnist_score
from tests.integration.scoring import account, lines, score, start, write_rows
from tests.patience import PATIENCE_S, until

pytestmark = pytest.mark.eas_service(processor="echo", instances=2)

FUNCTIONS = """
import json

def encode(row):
    if row["id"] == 3:
        raise ValueError("three is not for us")
    return json.dumps({"sum": row["id"] + row["x"]})

def decode(row, response):
    return {"id": row["id"], "sum": json.loads(response.to_string())["sum"]}

def encode_batch(rows):
    return json.dumps([row["id"] for row in rows])

def decode_batch(rows, response):
    return json.loads(response.to_string())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.jsonl", 50)
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return tmp_path


def run(service: RemoteService, folder: Path, *arguments: str, stdin: bytes = b"") -> dict[str, Any]:
    return account(score(service, folder, *arguments, "--json", "--quiet", stdin=stdin))


def refused(service: RemoteService, folder: Path, *arguments: str) -> str:
    ended = score(service, folder, *arguments)
    assert ended.returncode == 2
    (line,) = ended.stderr.decode().splitlines()
    return line


def test_json_rows_are_sent_as_they_are_and_answers_keep_their_order(eas_service: RemoteService, folder: Path) -> None:
    eas_service.crash(0)
    found = run(eas_service, folder, "in.jsonl", "--output", "out.jsonl")
    expected = [{"row": number, "id": number, "x": number / 2} for number in range(50)]
    assert lines(folder / "out.jsonl") == expected
    assert (found["rows"], found["failed"], found["is_finished"], found["resumed_from_row"]) == (50, 0, True, 0)
    received = eas_service.received()[0]
    assert received.body in (folder / "in.jsonl").read_bytes().splitlines()
    assert {name.lower(): value for name, value in received.headers.items()}["content-type"] == "application/json"


def test_functions_of_the_current_folder_encode_and_decode(eas_service: RemoteService, folder: Path) -> None:
    found = run(
        eas_service, folder, "in.jsonl", "--output", "out.csv", "--encode", "mine:encode", "--decode", "mine:decode"
    )
    assert found["errors"] == {"ValueError": 1}
    with (folder / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"row": "0", "id": "0", "sum": "0.0"}
    assert [row["row"] for row in rows] == [str(number) for number in range(50) if number != 3]
    (error,) = lines(folder / "out.csv.errors.jsonl")
    assert error == {
        "row": 3, "input": {"id": 3, "x": 1.5}, "error": "ValueError", "message": "three is not for us", "attempts": [],
    }  # fmt: skip


def test_functions_of_the_current_folder_encode_and_decode_batches(eas_service: RemoteService, folder: Path) -> None:
    flags = ("--batch", "8", "--encode-batch", "mine:encode_batch", "--decode-batch", "mine.decode_batch")
    found = run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--keep", "x", *flags)
    assert found["requests"] == 7
    assert lines(folder / "out.jsonl")[9] == {"row": 9, "x": 4.5, "response": 9}


def test_a_poison_row_of_a_batch_is_one_error_row(eas_service: RemoteService, folder: Path) -> None:
    def respond(received: Any) -> Any:
        return answer("no 13", status=400) if 13 in json.loads(received.body) else received.body

    eas_service.answers(respond)
    flags = ("--batch", "10", "--encode-batch", "mine:encode_batch", "--decode-batch", "mine:decode_batch")
    found = run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", *flags)
    assert (found["rows_done"], found["failed"]) == (50, 1)
    (error,) = lines(folder / "out.jsonl.errors.jsonl")
    assert (error["row"], error["error"], error["attempts"][0]["outcome"]) == (13, "StatusError", "status 400")


def test_outputs_have_fields_of_the_response_and_columns_of_the_row(eas_service: RemoteService, folder: Path) -> None:
    eas_service.answers(json=[{"p_1": 0.5, "list": [1, 2]}])
    flags = ("--keep", "id", "--field", "score=0.p_1", "--field", "0.list.1")
    run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--limit", "1", *flags)
    assert lines(folder / "out.jsonl") == [{"row": 0, "id": 0, "score": 0.5, "0.list.1": 2}]
    found = score(
        eas_service, folder, "in.jsonl", "--output", "other.jsonl", "--field", "0.p_2", "--quiet", "--max-errors", "3"
    )
    assert found.returncode == 65
    assert "the response has no 0.p_2, which --field names" in found.stderr.decode()


@pytest.mark.eas_service(processor="mnist")
def test_columns_become_tensors(eas_service: RemoteService, tmp_path: Path) -> None:
    images = np.random.default_rng(7).random((6, 784), np.float32)
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"p{number}" for number in range(784)), "label"])
        writer.writerows([*image, number] for number, image in enumerate(images))
    tensor = ("--tensor", "images:float32:784", "--columns", "p0..p783", "--signature", "predict_images")
    found = run(eas_service, tmp_path, "in.csv", "--output", "out.jsonl", "--keep", "label", "--batch", "4", *tensor)
    assert (found["rows"], found["requests"], found["failed"]) == (6, 2, 0)
    for number, output in enumerate(lines(tmp_path / "out.jsonl")):
        assert (output["row"], output["label"]) == (number, str(number))
        assert output["scores"] == pytest.approx(mnist_score([float(value) for value in images[number]]), rel=1e-4)


def test_lines_that_are_no_rows_are_error_rows(eas_service: RemoteService, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"a": 1}\n\n{"a": \n\xff\n[NaN]\n7\n')
    found = run(eas_service, tmp_path, "in.jsonl", "--output", "out.jsonl", "--max-errors", "3")
    assert [row["row"] for row in lines(tmp_path / "out.jsonl")] == [0, 4]
    errors = lines(tmp_path / "out.jsonl.errors.jsonl")
    assert [(error["row"], error["input"]) for error in errors] == [(1, '{"a":'), (2, "\\xff"), (3, "[NaN]")]
    assert found["errors"] == {"BodyError": 3}
    (tmp_path / "in.csv").write_text("a,b\n1,2\n1,2,3\n007,1e3\n")
    run(eas_service, tmp_path, "in.csv", "--output", "out.csv", "--numbers")
    assert (tmp_path / "out.csv").read_text() == "row,a,b\n0,1,2\n2,007,1000.0\n"
    assert lines(tmp_path / "out.csv.errors.jsonl")[0]["message"] == "the row has 3 cells; the header has 2"


def test_rows_that_cannot_be_written_as_json_are_error_rows(eas_service: RemoteService, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'1e999\n"\\ud800"\n7\n')
    found = run(eas_service, tmp_path, "in.jsonl", "--output", "out.jsonl", "--max-errors", "2")
    assert (found["is_finished"], found["rows_failed"]) == (True, 2)
    assert [row["row"] for row in lines(tmp_path / "out.jsonl")] == [2]
    errors = lines(tmp_path / "out.jsonl.errors.jsonl")
    assert [(error["row"], error["input"]) for error in errors] == [(0, "1e999"), (1, "\ud800")]
    (tmp_path / "in.csv").write_bytes(b"a\n\xff\n7\n")
    run(eas_service, tmp_path, "in.csv", "--output", "out.csv", "--max-errors", "1")
    assert (tmp_path / "out.csv").read_text() == "row,a\n1,7\n"
    assert lines(tmp_path / "out.csv.errors.jsonl")[0]["input"] == {"a": "\udcff"}


def test_a_job_with_too_many_errors_ends_early_and_can_be_resumed(eas_service: RemoteService, folder: Path) -> None:
    write_rows(folder / "in.jsonl", 1000)
    eas_service.fault("http_status", code=400)
    ended = score(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--in-flight", "1", "--quiet")
    assert ended.returncode == 65
    assert "100 of 100 rows failed (StatusError 100); max_errors allows 0.5 of the rows" in ended.stderr.decode()
    eas_service.heal()
    found = run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--resume")
    assert (found["rows_done"], found["is_finished"]) == (1000, True)
    assert len(lines(folder / "out.jsonl")) + len(lines(folder / "out.jsonl.errors.jsonl")) == 1000


class TestResume:
    """A job is resumed only with the same input and the same settings that affect the output."""

    def test_a_job_that_was_limited_goes_on(self, eas_service: RemoteService, folder: Path) -> None:
        run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--limit", "20", "--resume")
        found = run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--resume", "--in-flight", "3")
        assert (found["rows"], found["resumed_from_row"], found["rows_done"]) == (30, 20, 50)
        assert [row["row"] for row in lines(folder / "out.jsonl")] == list(range(50))
        assert eas_service.count() == 50
        again = run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--resume")
        assert again == {"rows_done": 50, "rows_failed": 0, "is_finished": True}
        assert eas_service.count() == 50

    def test_an_existing_output_is_not_overwritten_without_a_flag(
        self, eas_service: RemoteService, folder: Path
    ) -> None:
        run(eas_service, folder, "in.jsonl", "--output", "out.jsonl")
        error = refused(eas_service, folder, "in.jsonl", "--output", "out.jsonl")
        assert (
            "out.jsonl.journal is of a job that has begun: --resume goes on with it, --overwrite begins anew" in error
        )
        (folder / "out.jsonl.journal").unlink()
        error = refused(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--resume")
        assert "out.jsonl exists and has no journal, so it cannot be resumed" in error
        found = run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--overwrite")
        assert (found["rows"], len(lines(folder / "out.jsonl"))) == (50, 50)

    def test_other_settings_and_another_input_are_refused_by_name(
        self, eas_service: RemoteService, folder: Path
    ) -> None:
        job = ("in.jsonl", "--output", "out.jsonl")
        run(eas_service, folder, *job, "--limit", "5")
        error = refused(eas_service, folder, *job, "--resume", "--keep", "id", "--path", "v2")
        assert "settings: --keep is ['id'], was []; settings: --path is 'v2', was ''" in error
        rows = (folder / "in.jsonl").read_text()
        (folder / "in.jsonl").write_text(rows + rows)
        error = refused(eas_service, folder, *job, "--resume")
        assert f"input: bytes is {2 * len(rows)}, was {len(rows)}" in error
        (folder / "in.jsonl").write_text(rows.replace('"id": 49', '"id": 94'))
        assert "hash of the first 64 KiB" in refused(eas_service, folder, *job, "--resume")

    def test_the_values_of_headers_are_neither_stored_nor_shown(self, eas_service: RemoteService, folder: Path) -> None:
        job = ("in.jsonl", "--output", "out.jsonl")
        run(eas_service, folder, *job, "--limit", "5", "--header", "X-Key: s3cret")
        assert b"s3cret" not in b"".join(path.read_bytes() for path in folder.glob("out.jsonl.journal*"))
        error = refused(eas_service, folder, *job, "--resume", "--header", "X-Key: oth3r")
        assert "settings: --header is" in error
        assert "s3cret" not in error
        assert "oth3r" not in error
        assert run(eas_service, folder, *job, "--resume", "--header", "X-Key: s3cret")["is_finished"]

    def test_changed_rows_behind_the_beginning_of_a_large_file_are_noticed(
        self, eas_service: RemoteService, tmp_path: Path
    ) -> None:
        (tmp_path / "in.jsonl").write_text(f'["{"x" * 70_000}"]\n[1]\n[2]\n')
        job = ("in.jsonl", "--output", "out.jsonl")
        run(eas_service, tmp_path, *job, "--limit", "2")
        (tmp_path / "in.jsonl").write_text(f'["{"x" * 70_000}"]\n[9]\n[2]\n')
        error = refused(eas_service, tmp_path, *job, "--resume")
        assert "the first 2 rows of the input have changed since they were scored" in error

    def test_an_output_that_was_cut_by_someone_else_is_refused(self, eas_service: RemoteService, folder: Path) -> None:
        run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--limit", "5")
        (folder / "out.jsonl").write_text("")
        error = refused(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--resume")
        assert "out.jsonl has 0 bytes, and had" in error

    def test_two_processes_do_not_write_one_output(self, eas_service: RemoteService, folder: Path) -> None:
        process = start(eas_service, folder, "-", "--output", "out.jsonl")  # waits for rows on standard input
        until((folder / "out.jsonl.journal-wal").exists)
        for flag in ("--resume", "--overwrite"):
            error = refused(eas_service, folder, "in.jsonl", "--output", "out.jsonl", flag)
            assert "another process is writing this output: out.jsonl.journal is locked" in error
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130, "standard input is still open"
        _, stderr = process.communicate()
        assert "interrupted; the same command with --resume goes on" in stderr.decode()


class TestPipes:
    """Standard input and standard output as files of a job."""

    def test_rows_pass_through(self, eas_service: RemoteService, tmp_path: Path) -> None:
        ended = score(
            eas_service, tmp_path, "-", "--output", "-", "--errors", "e.jsonl", "--quiet", stdin=b"[1]\nx\n[2]\n"
        )
        assert ended.returncode == 0
        assert ended.stdout == b'{"row":0,"response":[1]}\n{"row":2,"response":[2]}\n'
        assert [error["row"] for error in lines(tmp_path / "e.jsonl")] == [1]
        assert b"rows_failed" in ended.stderr

    def test_an_output_is_written_before_the_next_row_arrives(self, eas_service: RemoteService, tmp_path: Path) -> None:
        """A program that writes rows slowly to standard input delays neither calls nor outputs.

        Rows are read outside the reactor thread.
        """
        process = start(eas_service, tmp_path, "-", "--output", "-", "--errors", "e.jsonl", "--quiet")
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(b"[%d]\n" % number)
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"row": number, "response": [number]}
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0

    def test_a_reader_that_closes_the_pipe_is_no_error(self, eas_service: RemoteService, folder: Path) -> None:
        write_rows(folder / "in.jsonl", 20_000)
        process = start(eas_service, folder, "in.jsonl", "--output", "-", "--errors", "e.jsonl", "--quiet")
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert b"Traceback" not in stderr


def test_a_dry_run_sends_nothing_and_writes_nothing(eas_service: RemoteService, folder: Path) -> None:
    ended = score(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--dry-run")
    assert ended.stdout.decode().startswith("50 of 50 rows can be sent, ")
    ended = score(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--dry-run", "--encode", "mine:encode")
    assert ended.returncode == 65
    assert "1 of 50 rows cannot be encoded; the first: row 3: ValueError: three is not for us" in ended.stderr.decode()
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == ["in.jsonl", "mine.py"]
    assert eas_service.count() == 0


def test_the_rate_is_not_exceeded(eas_service: RemoteService, folder: Path) -> None:
    """Only the upper bound is checked, because a slow machine may send fewer rows per second.

    `tests/bulk/test_engine.py` checks the rate with `twisted.internet.task.Clock`.
    """
    began = time.monotonic()
    run(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--rate", "50")
    assert time.monotonic() - began >= 49 / 50


def test_progress_is_a_line_every_ten_seconds_and_the_account_is_printed(
    eas_service: RemoteService, folder: Path
) -> None:
    ended = score(eas_service, folder, "in.jsonl", "--output", "out.jsonl", "--limit", "5")
    assert ended.stderr == b""
    error = dict(line.split(maxsplit=1) for line in ended.stdout.decode().splitlines())
    assert (error["rows"], error["failed"], error["rows_done"], error["is_finished"]) == ("5", "0", "5", "False")


WRONG = [
    (("in.jsonl", "--output", "-"), "--output - needs --errors FILE, for the rows that fail"),
    (("in.jsonl", "--output", "/dev/null", "--output-format", "csv"), "--output /dev/null needs --errors FILE"),
    (("in.jsonl", "--output", "/dev/null", "--output-format", "parquet", "--errors", "e"), "Parquet cannot be written"),
    (("in.jsonl", "--output", "-", "--errors", "-"), "--errors - and --output - both write to standard output"),
    (("in.jsonl", "--output", "o.csv", "--errors", "-", "--json"), "--errors - and --json both write to standard"),
    (("in.jsonl", "--output", "-", "--json"), "--json and --output - both write to standard output"),
    (("in.jsonl", "--output", "out.xlsx"), "output must end in .jsonl, .ndjson"),
    (("in.txt", "--output", "out.csv"), "input must end in .jsonl"),
    (("in.jsonl", "--output", "no/out.csv"), "there is no folder no for the --output"),
    (("in.jsonl", "--output", "o.csv", "--in-flight", "0"), "--in-flight must be a whole number ≥ 1, got 0"),
    (("in.jsonl", "--output", "o.csv", "--rate", "-1"), "--rate must be a number > 0, or None, got -1.0"),
    (("in.jsonl", "--output", "o.csv", "--max-errors", "101%"), "--max-errors must be a number ≥ 0, or a share"),
    (("in.jsonl", "--output", "o.csv", "--limit", "0"), "--limit must be at least 1, got 0"),
    (("in.jsonl", "--output", "o.csv", "--encode", "mine:no"), "--encode 'mine:no': the module mine has no"),
    (("in.jsonl", "--output", "o.csv", "--batch", "2", "--encode", "mine:encode"), "--batch 2 needs --encode-batch"),
    (("in.jsonl", "--output", "o.csv", "--columns", "a"), "--columns, --signature and --fetch belong to --tensor"),
    (("in.jsonl", "--output", "o.csv", "--tensor", "a:float:3"), "--tensor must look like NAME:DTYPE:SHAPE"),
    (("in.jsonl", "--output", "o.csv", "--keep", "row"), "--keep has a column twice, or 'row'"),
    (("in.jsonl", "--output", "o.csv", "--field", "=a"), "--field must look like PATH or NAME=PATH"),
    (("in.jsonl", "--output", "in.jsonl", "--overwrite"), "--output and INPUT are the same file, in.jsonl"),
    (("in.jsonl", "--output", "link.jsonl", "--overwrite"), "--output and INPUT are the same file, link.jsonl"),
    (("in.jsonl", "--output", "./in.jsonl", "--dry-run"), "--output and INPUT are the same file, ./in.jsonl"),
    (("in.jsonl", "--output", "o.csv", "--errors", "o.csv"), "--errors and --output are the same file, o.csv"),
    (("in.jsonl", "--output", "o.csv", "--errors", "in.jsonl"), "--errors and INPUT are the same file, in.jsonl"),
    (("in.jsonl", "--output", "o.csv", "--errors", "o.csv.journal"), "the journal and --errors are the same file"),
    (("in.jsonl", "--output", "o.csv", "--resume", "--overwrite"), "give --resume, which goes on with a job, or"),
    (("-", "--input-format", "parquet", "--output", "o.csv"), "a Parquet file cannot be read from standard input"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "says"), WRONG, ids=[says for _, says in WRONG])
def test_a_wrong_flag_is_named_before_anything_is_written(
    arguments: tuple[str, ...], says: str, eas_service: RemoteService, folder: Path
) -> None:
    (folder / "link.jsonl").symlink_to("in.jsonl")
    content = (folder / "in.jsonl").read_bytes()
    assert refused(eas_service, folder, *arguments).startswith(f"eas-tw: {says}")
    assert not list(folder.glob("*.journal"))
    assert (folder / "in.jsonl").read_bytes() == content


def test_a_file_that_is_redirected_to_standard_input_is_not_overwritten(
    eas_service: RemoteService, folder: Path
) -> None:
    content = (folder / "in.jsonl").read_bytes()
    with (folder / "in.jsonl").open("rb") as rows:
        process = start(eas_service, folder, "-", "--output", "in.jsonl", "--overwrite", stdin=rows)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert stderr.startswith(b"eas-tw: --output and INPUT are the same file, in.jsonl")
    assert (folder / "in.jsonl").read_bytes() == content


def test_a_file_that_is_not_there_is_named(eas_service: RemoteService, folder: Path) -> None:
    ended = score(eas_service, folder, "other.jsonl", "--output", "out.jsonl")
    assert (ended.returncode, ended.stderr) == (66, b"eas-tw: other.jsonl: No such file or directory\n")


def test_a_disk_that_is_full_is_named(eas_service: RemoteService, folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    (folder / "e.jsonl").symlink_to("/dev/full")
    (folder / "in.jsonl").write_text("no JSON\n")
    ended = score(eas_service, folder, "in.jsonl", "--output", "-", "--errors", "e.jsonl", "--quiet")
    assert ended.returncode == 74
    assert b"e.jsonl: No space left on device" in ended.stderr
