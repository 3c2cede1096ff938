"""Parquet files as input and output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from eas_tw import BodyError
from eas_tw.bulk.inputs import RowReader
from eas_tw.bulk.job_files import JobFiles
from eas_tw.bulk.parquet import convert
from eas_tw.testing.service import RemoteService
from tests.integration.scoring import account, score


def lines_of(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "rows"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def test_rows_are_read_group_by_group(tmp_path: Path) -> None:
    rows = [
        {"id": number, "tags": ["a"] * (number % 3), "x": None if number == 5 else number / 2} for number in range(3000)
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=700)
    reader = RowReader(str(tmp_path / "in.parquet"), "parquet")
    found = reader.rows()
    assert next(found).value == rows[0]
    assert reader.share_read == 1 / 3000
    assert [row.value for row in found] == rows[1:]
    reader.close()


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_text("this is a text")
    reader = RowReader(str(tmp_path / "in.parquet"), "parquet")
    with pytest.raises(BodyError, match="the file is not Parquet"):
        next(reader.rows())
    reader.close()


def test_outputs_get_one_schema_although_the_first_rows_lack_values(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"row": number, "x": None, "y": 1} for number in range(10_001)]
    rows[-1] = {"row": 10_000, "x": "text", "y": 0.5, "z": [1]}
    convert(lines_of(tmp_path, rows), tmp_path / "out.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert [str(field.type) for field in table.schema] == ["int64", "string", "double", "list<element: int64>"]
    assert table.to_pylist()[-1] == rows[-1]
    assert len(table) == 10_001


def test_columns_that_the_first_row_lacks_are_written(tmp_path: Path) -> None:
    convert(lines_of(tmp_path, [{"row": 0}, {"row": 1, "x": 0.5}, {"x": 1, "y": "a"}]), tmp_path / "out.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist() == [
        {"row": 0, "x": None, "y": None}, {"row": 1, "x": 0.5, "y": None}, {"row": None, "x": 1.0, "y": "a"},
    ]  # fmt: skip


@pytest.mark.parametrize("value", [2**70, {}, "\ud800"])
def test_a_value_without_a_type_in_parquet_is_refused_and_the_rows_are_kept(value: Any, tmp_path: Path) -> None:
    lines = lines_of(tmp_path, [{"x": value}])
    with pytest.raises(BodyError, match=r"the outputs cannot be written as Parquet: .*; they are in .*rows"):
        convert(lines, tmp_path / "out.parquet")
    assert lines.exists()


def test_a_column_of_numbers_and_texts_is_refused_and_the_rows_are_kept(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, [{"x": number} for number in range(10_000)] + [{"x": "text"}])
    with pytest.raises(BodyError, match=r"the outputs cannot be written as Parquet: .*; they are in .*rows"):
        convert(lines, tmp_path / "out.parquet")
    assert lines.exists()
    assert not (tmp_path / "out.parquet").exists()


def test_a_conversion_that_was_killed_is_repeated(tmp_path: Path) -> None:
    """The files are as after a kill between the rename and the journal's record that the job is finished."""
    facts: dict[str, dict[str, Any]] = {}

    def files() -> JobFiles:
        made = JobFiles(str(tmp_path / "out.parquet"), str(tmp_path / "errors"), "parquet")
        made.check(facts, resume=True, overwrite=False)
        made.begin(facts)
        return made

    first = files()
    first.commit([first.formatter.line({"row": 0, "x": 1})], [], b"d")
    first.finish(is_complete=False)
    first.close()
    assert len(pyarrow.parquet.read_table(tmp_path / "out.parquet")) == 1
    second = files()
    second.commit([second.formatter.line({"row": 1, "x": 2})], [], b"e")
    second.finish(is_complete=True)
    second.close()
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist() == [{"row": 0, "x": 1}, {"row": 1, "x": 2}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "out.parquet.journal"]


@pytest.mark.eas_service(processor="echo")
def test_a_file_is_scored_from_parquet_to_parquet(eas_service: RemoteService, tmp_path: Path) -> None:
    rows = [{"id": number, "x": number / 2} for number in range(100)]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    job = ("in.parquet", "--output", "out.parquet", "--json", "--quiet", "--keep", "id", "--field", "score=x")
    assert account(score(eas_service, tmp_path, *job, "--limit", "30"))["rows_done"] == 30
    assert len(pyarrow.parquet.read_table(tmp_path / "out.parquet")) == 30
    assert account(score(eas_service, tmp_path, *job, "--resume"))["is_finished"]
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.to_pylist() == [{"row": number, "id": number, "score": number / 2} for number in range(100)]
    for again in ((), ("--limit", "5")):  # a finished job ends immediately
        assert account(score(eas_service, tmp_path, *job, "--resume", *again))["rows_done"] == 100
    assert eas_service.count() == 100
