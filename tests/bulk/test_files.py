"""Input and output files of a job, and the journal of their progress."""

from __future__ import annotations

import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eas_tw import BodyError, ConfigError
from eas_tw.bulk import inputs
from eas_tw.bulk.errors import CannotWrite
from eas_tw.bulk.inputs import RowReader, WrongCells, format_of
from eas_tw.bulk.job_files import JobFiles
from eas_tw.bulk.journal import Journal, Progress
from eas_tw.bulk.outputs import AppendedFile, Cells, Lines, error_line
from eas_tw.bulk.row_source import DigestedRows, RowsOfThread, remaining_rows
from eas_tw.bulk.rows import NOT_READY

FACTS: dict[str, dict[str, Any]] = {"input": {"bytes": 5}, "settings": {"--keep": ["a"]}}


MARK = b"\xef\xbb\xbf"
"""The byte order mark that editors on Windows write before UTF-8."""


def read(path: Path, kind: str, **options: Any) -> list[Any]:
    reader = RowReader(str(path), kind, **options)
    try:
        return list(reader.rows())
    finally:
        reader.close()


@pytest.mark.parametrize(("kind", "content"), [("jsonl", b'{"a": 1}\r\n{"a": 2}\r\n'), ("csv", b"a\r\n1\r\n2\r\n")])
def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path, kind: str, content: bytes) -> None:
    for mark in (b"", MARK):
        (tmp_path / f"rows{len(mark)}").write_bytes(mark + content)
    assert [row.raw for row in read(tmp_path / "rows3", kind)] == [row.raw for row in read(tmp_path / "rows0", kind)]


class TestInputs:
    """Reading rows from files."""

    def test_empty_lines_of_json_are_skipped(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b'{"a": "\xe5\x90\x8d"}\r\n\n  \n[1]')
        rows = read(tmp_path / "a", "jsonl")
        assert [row.value for row in rows] == [{"a": "名"}, [1]]
        assert [row.position for row in rows] == [0, 1]

    @pytest.mark.parametrize("line", [b"{", b"\xff", b"NaN", b'{"a": Infinity}', b"[" * 100_000])
    def test_a_line_that_is_not_json_is_one_bad_row(self, line: bytes, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(line + b"\n1\n")
        bad, good = read(tmp_path / "a", "jsonl")
        with pytest.raises(BodyError, match="the line is not JSON"):
            _ = bad.value
        assert bad.shown == line.decode("utf-8", "backslashreplace")
        assert good.value == 1

    def test_cells_of_csv_are_text_or_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b'\xef\xbb\xbfname,n\n"a\nb",1\n"x,""y""",-2.5e3\nz,007\n')
        assert [row.value["n"] for row in read(tmp_path / "a", "csv")] == ["1", "-2.5e3", "007"]
        rows = read(tmp_path / "a", "csv", numbers=True)
        assert [row.value for row in rows] == [
            {"name": "a\nb", "n": 1}, {"name": 'x,"y"', "n": -2500.0}, {"name": "z", "n": "007"},
        ]  # fmt: skip

    def test_a_number_that_is_too_long_for_int_is_text(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text(f"n\n{'1' * 5000}\n2\n")
        assert [row.value["n"] for row in read(tmp_path / "a", "csv", numbers=True)] == ["1" * 5000, 2]

    def test_a_cell_may_be_as_long_as_an_image(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text(f"image\n{'x' * 1_000_000}\n")
        assert len(read(tmp_path / "a", "csv")[0].value["image"]) == 1_000_000

    def test_a_quotation_mark_that_is_not_closed_ends_the_reading_within_bounds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inputs, "_CELL_CHARS", 100)
        (tmp_path / "a").write_text('a\n1\n"' + "2\n" * 100)
        with pytest.raises(BodyError, match="the file is not CSV: field larger than field limit"):
            read(tmp_path / "a", "csv")

    def test_a_row_of_csv_with_another_number_of_cells_is_one_bad_row(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("a,b\n1\n\n1,2\n")
        bad, good = read(tmp_path / "a", "csv")
        assert bad.raw == WrongCells(["1"], 2)
        assert (bad.shown, good.value) == (["1"], {"a": "1", "b": "2"})

    def test_columns_with_the_same_name_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("a,a\n1,2\n")
        with pytest.raises(BodyError, match="two columns of the CSV file have the same name: a, a"):
            read(tmp_path / "a", "csv")

    def test_the_digest_is_of_all_rows_so_far(self, tmp_path: Path) -> None:
        for name, text in {"a": "1\n2\n3\n", "b": "1\n\n2\n4\n", "c": "12\n3\n3\n"}.items():
            (tmp_path / name).write_text(text)
        a, b, c = ([row.digest for row in read(tmp_path / name, "jsonl")] for name in "abc")
        assert a[:2] == b[:2]
        assert a[2] != b[2]
        assert a[2] != c[2]

    def test_a_pipe_is_refused_without_waiting_for_a_writer(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a")
        with pytest.raises(ConfigError, match="a is a pipe or a device, which cannot be read twice: give - as INPUT"):
            read(tmp_path / "a", "jsonl")

    @pytest.mark.parametrize(
        ("path", "kind"), [("a.JSONL", "jsonl"), ("a.csv", "csv"), ("a.pq", "parquet"), ("-", "jsonl")]
    )
    def test_the_format_is_known_by_the_suffix(self, path: str, kind: str) -> None:
        assert format_of(path, None, "input") == kind
        assert format_of("a.dat", kind, "input") == kind


class TestOutputs:
    """Encoding of outputs as lines of a file."""

    def test_numpy_and_other_values_that_convert_to_json_are_written(self) -> None:
        output = {
            "a": np.float32(0.5),
            "b": np.arange(2),
            "c": b"x",
            "d": date(2026, 1, 2),
            "e": Decimal("1.10"),
            "f": "名",
        }
        assert Lines().line(output) == '{"a":0.5,"b":[0,1],"c":"x","d":"2026-01-02","e":"1.10","f":"名"}\n'.encode()

    @pytest.mark.parametrize("value", [float("nan"), object(), {1j: 1}, "\ud800"])
    def test_values_that_are_not_json_are_refused(self, value: Any) -> None:
        with pytest.raises(BodyError, match="the output cannot be written as JSON"):
            Lines().line({"a": value})

    def test_any_input_can_be_written_in_an_error_row(self) -> None:
        assert (
            error_line({"input": {"a": [date(2026, 1, 2), "名"]}}, "raw")
            == '{"input":{"a":["2026-01-02","名"]}}\n'.encode()
        )
        assert error_line({"row": 1, "input": {"a": float("nan")}}, "raw") == b'{"row":1,"input":"raw"}\n'
        assert error_line({"input": object()}, "raw") == b'{"input":"raw"}\n'
        half = {"input": "\udcff", "message": "\ud800"}
        assert json.loads(error_line(half, "raw")) == half

    def test_cells_have_the_columns_of_the_first_output(self) -> None:
        cells = Cells()
        assert cells.header == b""
        assert cells.line({"a": 'x,"y"', "b": [1, {"c": None}]}) == b'"x,""y""","[1,{""c"":null}]"\n'
        assert cells.header == b"a,b\n"
        assert cells.line({"b": None, "a": 1}) == b"1,\n"
        with pytest.raises(BodyError, match="the output has the columns a, c; the first had a, b"):
            cells.line({"a": 1, "c": 2})

    def test_a_file_is_truncated_to_the_recorded_length(self, tmp_path: Path) -> None:
        file = tmp_path / "out"
        file.write_bytes(b"known, and unknown")
        appended = AppendedFile(str(file), 5)
        appended.append(b"!")
        appended.close()
        assert (file.read_bytes(), appended.length) == (b"known!", 6)
        with pytest.raises(ValueError, match="has 6 bytes, and had 7 when it was written"):
            AppendedFile(str(file), 7)

    def test_a_file_is_created_with_the_first_bytes(self, tmp_path: Path) -> None:
        appended = AppendedFile(str(tmp_path / "errors"))
        appended.cut()
        appended.append(b"")
        assert not (tmp_path / "errors").exists()
        appended.append(b"1")
        appended.close()
        assert (tmp_path / "errors").read_bytes() == b"1"


class TestJournal:
    """The journal records the progress of a job."""

    def test_what_is_recorded_is_there_after_it_was_opened_again(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "j")
        assert journal.progress == Progress()
        progress = Progress(rows=3, digest=b"\0\1", output_bytes=2**40, error_bytes=7, failed=1)
        journal.begin(FACTS)
        journal.record(progress)
        journal.close()
        journal = Journal(tmp_path / "j")
        journal.begin(FACTS)
        assert journal.progress == progress
        journal.close()

    def test_another_job_is_refused_with_all_differences(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "j")
        journal.begin(FACTS)
        with pytest.raises(ConfigError) as caught:
            journal.begin({"input": {"bytes": 6}, "settings": {"--keep": ["a"], "--path": "x"}})
        assert "input: bytes is 6, was 5; settings: --path is 'x', was None. Give another" in str(caught.value)
        journal.close()

    def test_a_file_that_is_no_journal_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "j").write_text("this is a text, and long enough to be read as a header")
        with pytest.raises(ConfigError, match=r"j is not a journal of eas-tw"):
            Journal(tmp_path / "j")

    def test_a_journal_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "j").mkdir()
        with pytest.raises(CannotWrite, match="unable to open database file") as caught:
            Journal(tmp_path / "j")
        assert caught.value.filename == str(tmp_path / "j")
        journal = Journal(tmp_path / "full")
        journal._database.execute("PRAGMA query_only = 1")  # as on a disk that has become read-only
        with pytest.raises(CannotWrite, match="readonly database"):
            journal.record(Progress())
        journal.close()


class TestJobFiles:
    """Output file, error rows and journal are consistent after a kill and after a resume."""

    def files(self, folder: Path, kind: str = "jsonl", *, resume: bool = True, overwrite: bool = False) -> JobFiles:
        files = JobFiles(str(folder / "out"), str(folder / "errors"), kind)
        files.check(FACTS, resume=resume, overwrite=overwrite)
        files.begin(FACTS)
        return files

    def test_bytes_that_were_written_and_not_recorded_are_truncated(self, tmp_path: Path) -> None:
        """The files are as after a kill between the flush of the files and the transaction of the journal."""
        files = self.files(tmp_path)
        files.commit([b"1\n", b"2\n"], [b"e\n"], b"d")
        files.close()
        for name in ("out", "errors"):
            with (tmp_path / name).open("ab") as file:
                file.write(b"more\nthan is kno")
        files = self.files(tmp_path)
        assert files.progress == Progress(rows=3, digest=b"d", output_bytes=4, error_bytes=2, failed=1)
        assert [(tmp_path / name).read_bytes() for name in ("out", "errors")] == [b"1\n2\n", b"e\n"]
        files.commit([b"3\n"], [], b"e")
        files.close()
        assert (tmp_path / "out").read_bytes() == b"1\n2\n3\n"

    def test_the_columns_of_csv_are_known_when_a_job_goes_on(self, tmp_path: Path) -> None:
        files = self.files(tmp_path, "csv")
        files.commit([], [b"e\n"], b"c")
        files.commit([files.formatter.line({"b": 1, "a": 2})], [], b"d")
        files.close()
        files = self.files(tmp_path, "csv")
        files.commit([files.formatter.line({"a": 4, "b": 3})], [], b"e")
        files.finish(is_complete=True)
        files.close()
        assert (tmp_path / "out").read_text() == "b,a\n1,2\n3,4\n"

    def test_a_device_is_written_to_and_not_removed(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "errors")
        reader = os.open(tmp_path / "errors", os.O_RDONLY | os.O_NONBLOCK)
        try:
            for resume, overwrite in ((False, False), (True, False), (False, True)):
                files = self.files(tmp_path, resume=resume, overwrite=overwrite)
                files.commit([], [b"e\n"], b"d")
                files.close()
                assert os.read(reader, 9) == b"e\n"
        finally:
            os.close(reader)
        assert (tmp_path / "errors").is_fifo()

    def test_a_device_as_output_has_no_journal(self, tmp_path: Path) -> None:
        (tmp_path / "out").symlink_to(os.devnull)
        files = self.files(tmp_path, resume=False, overwrite=True)
        files.commit([b"1\n"], [], b"d")
        files.finish(is_complete=True)
        files.close()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        with pytest.raises(
            ConfigError, match=r"--resume needs an --output that is a file, because .*out has no journal"
        ):
            self.files(tmp_path, resume=True)

    def test_a_job_without_rows_has_an_empty_output(self, tmp_path: Path) -> None:
        files = self.files(tmp_path)
        files.finish(is_complete=True)
        files.close()
        assert (tmp_path / "out").read_bytes() == b""
        assert not (tmp_path / "errors").exists()

    def test_only_what_belongs_to_the_job_is_removed(self, tmp_path: Path) -> None:
        files = self.files(tmp_path)
        files.commit([b"1\n"], [b"e\n"], b"d")
        files.close()
        (tmp_path / "other").write_text("stays")
        files = self.files(tmp_path, overwrite=True)
        assert files.progress == Progress()
        files.close()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out.journal"]


class TestSource:
    """Iteration over the rows that are not done yet."""

    def reader(self, folder: Path) -> RowReader:
        (folder / "in").write_text("10\n11\n12\n13\n")
        return RowReader(str(folder / "in"), "jsonl")

    def digest(self, folder: Path, rows: int) -> bytes:
        return read(folder / "in", "jsonl")[rows - 1].digest  # type: ignore[no-any-return]

    @pytest.mark.parametrize(
        ("done", "limit", "expected"),
        [(0, None, [10, 11, 12, 13]), (2, None, [12, 13]), (4, None, []), (1, 3, [11, 12]), (3, 2, [])],
    )
    def test_rows_that_are_done_are_skipped(
        self, done: int, limit: int | None, expected: list[int], tmp_path: Path
    ) -> None:
        reader = self.reader(tmp_path)
        progress = Progress(rows=done, digest=self.digest(tmp_path, done) if done else b"")
        rows = list(remaining_rows(reader, progress, limit))
        reader.close()
        assert [row.value for row in rows] == expected
        assert [row.position for row in rows] == list(range(done, done + len(expected)))

    def test_fewer_or_changed_rows_are_refused(self, tmp_path: Path) -> None:
        for progress, says in [
            (Progress(rows=5, digest=b"x"), "5 rows are done, but the input has fewer"),
            (Progress(rows=2, digest=b"x"), "the first 2 rows of the input have changed"),
        ]:
            reader = self.reader(tmp_path)
            with pytest.raises(ConfigError, match=says):
                remaining_rows(reader, progress, None)
            reader.close()

    def test_digests_are_of_the_last_row_that_is_written(self, tmp_path: Path) -> None:
        reader = self.reader(tmp_path)
        source = DigestedRows(remaining_rows(reader, Progress(), None))
        assert [row.value for row in source] == [10, 11, 12, 13]
        assert source.written(1) == self.digest(tmp_path, 1)
        assert source.written(3) == self.digest(tmp_path, 4)
        reader.close()

    def test_a_thread_reads_rows_that_are_slow_to_come(self) -> None:
        import queue  # noqa: PLC0415

        incoming: queue.Queue[Any] = queue.Queue()
        woken: queue.Queue[None] = queue.Queue()
        rows: Any = RowsOfThread(iter(incoming.get, None), lambda: woken.put(None))
        assert next(rows) is NOT_READY
        rows.start()
        incoming.put("first")
        woken.get(timeout=60)
        assert next(rows) == "first"
        assert next(rows) is NOT_READY
        incoming.put(None)
        woken.get(timeout=60)
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(rows)

    def test_an_exception_of_the_thread_is_raised_by_the_iterator(self) -> None:
        woken: list[None] = []

        def broken() -> Any:
            yield "first"
            raise OSError("the pipe is broken")

        rows: Any = RowsOfThread(broken(), lambda: woken.append(None))
        rows._read()
        assert next(rows) == "first"
        with pytest.raises(OSError, match="the pipe is broken"):
            next(rows)


def test_lines_can_be_read_back() -> None:
    output = {"row": 0, "text": 'a\n"b"\u2028', "list": [1.5, None, True]}
    line = Lines().line(output)
    assert (line.count(b"\n"), json.loads(line)) == (1, output)


def test_an_output_that_cannot_be_written_does_not_decide_about_the_columns() -> None:
    cells = Cells()
    with pytest.raises(BodyError, match="cannot be written as CSV"):
        cells.line({"a": {1, 2}})
    assert cells.header == b""
    assert cells.line({"b": 1}) == b"1\n"
    assert cells.header == b"b\n"
